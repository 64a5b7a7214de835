/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Groups in which some processes have the library and others DPDK's own hotplug: drivers of DPDK
 * behave as in a group without the library, and the rules of the group hold for all.
 *
 * usage: test_mixes PEER LIBRARY [LINKED_PEER all|even|odd]
 */
#include <unistd.h>

#include "group.h"

#define PROCESSES 3

/* Which processes have the library: the primary, two secondaries. */
static const struct mix {
	const char *name;
	bool stock[PROCESSES];
} mixes[] = {
	{ "all ours", { false, false, false } },
	{ "stock secondaries", { false, true, true } },
	{ "stock primary", { true, false, false } },
	{ "both kinds of secondaries", { false, false, true } },
};
static const struct mix all_stock = { "all stock", { true, true, true } };

#define MIXES (sizeof(mixes) / sizeof(mixes[0]))

static const struct driver {
	const char *name;
	/* '@' stands for a name that no other run uses, '$' for a directory with an empty rx.pcap. */
	const char *arguments;
} drivers[] = {
	{ "net_null0", "copy=1" },
	{ "net_ring0", "" },
	{ "net_tap0", "iface=@" },
	{ "net_pcap0", "rx_pcap=$/rx.pcap,tx_pcap=$/tx.pcap" },
	{ "net_pcap1", "iface=lo" },
	/* Attach only: see failsafe_alone(). */
	{ "net_failsafe0", "dev(net_null5)" },
};

#define DRIVERS (sizeof(drivers) / sizeof(drivers[0]))
#define FAILSAFE (&drivers[DRIVERS - 1])

/* Of the present case. */
static const struct mix *mix;
static const struct driver *driver;
static struct peer *peers[PROCESSES];
static char files[NAME_SIZE];

static void start_mix(const struct mix *which)
{
	for (int i = 0; i < PROCESSES; i++)
		peers[i] = start_peer((i == 0 ? PRIMARY : 0) | (which->stock[i] ? STOCK : 0), NULL);
	/* The primary sees the others as what they are. */
	for (int i = 1; i < PROCESSES && !which->stock[0]; i++)
		wait_state(peers[0], peers[i], which->stock[i] ? 5 : 1);
}

static void make_files(void)
{
	static const unsigned char empty_capture[24] = { 0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0,
							 0,    0,    0,	   0,	 0, 0, 1, 0, 1, 0, 0,
							 0,    0 };
	char path[2 * NAME_SIZE];
	FILE *file;

	snprintf(files, sizeof(files), "/tmp/hotplug_mixes_XXXXXX");
	CHECK(mkdtemp(files) != NULL);
	snprintf(path, sizeof(path), "%s/rx.pcap", files);
	file = fopen(path, "w");
	CHECK(file != NULL);
	CHECK(fwrite(empty_capture, sizeof(empty_capture), 1, file) == 1);
	CHECK(fclose(file) == 0);
}

static void remove_files(void)
{
	if (files[0] == '\0')
		return;
	group_remove_files(files, "");
	rmdir(files);
	files[0] = '\0';
}

static void describe_driver(char devargs[LINE_SIZE])
{
	size_t used = (size_t)snprintf(devargs, LINE_SIZE, "%s%s", driver->name,
				       driver->arguments[0] != '\0' ? "," : "");

	for (const char *c = driver->arguments; *c != '\0'; c++) {
		char *end = devargs + used;
		size_t room = LINE_SIZE - used;

		if (*c == '@')
			used += (size_t)snprintf(end, room, "hp%d", (int)getpid());
		else if (*c == '$')
			used += (size_t)snprintf(end, room, "%s", files);
		else
			used += (size_t)snprintf(end, room, "%c", *c);
	}
}

static int compare_words(const void *one, const void *other)
{
	return strcmp(*(char *const *)one, *(char *const *)other);
}

/* Adds what a process lists, sorted. */
static void note_list(char *transcript, struct peer *peer)
{
	char *words[DEVICES], listed[LINE_SIZE], *rest = NULL;
	size_t number = 0, used = strlen(transcript);

	snprintf(listed, sizeof(listed), "%s", ask(peer, "list"));
	for (char *w = strtok_r(listed, " ", &rest); w != NULL && number < DEVICES;
	     w = strtok_r(NULL, " ", &rest))
		words[number++] = w;
	qsort(words, number, sizeof(words[0]), compare_words);
	used += (size_t)snprintf(transcript + used, LINE_SIZE - used, " [");
	for (size_t i = 0; i < number; i++)
		used += (size_t)snprintf(transcript + used, LINE_SIZE - used, " %.40s", words[i]);
	snprintf(transcript + used, LINE_SIZE - used, " ]");
}

static void note(char *transcript, int by, const char *command)
{
	size_t used = strlen(transcript);

	snprintf(transcript + used, LINE_SIZE - used, "process %d: %.20s: %s:", by, command,
		 ask(peers[by], "%s", command));
	for (int i = 0; i < PROCESSES; i++)
		note_list(transcript, peers[i]);
	used = strlen(transcript);
	snprintf(transcript + used, LINE_SIZE - used, "\n");
}

/* What becomes of the driver's device when each process attaches and detaches it. */
static void run_driver(const struct mix *which, char transcript[LINE_SIZE])
{
	char devargs[LINE_SIZE], command[LINE_SIZE + NAME_SIZE];

	transcript[0] = '\0';
	group_open();
	start_mix(which);
	describe_driver(devargs);
	for (int by = 0; by < PROCESSES; by++) {
		snprintf(command, sizeof(command), "attach %s", devargs);
		note(transcript, by, command);
		if (driver == FAILSAFE)
			continue;
		snprintf(command, sizeof(command), "detach %s", driver->name);
		note(transcript, by, command);
	}
	if (driver == FAILSAFE)
		group_kill();
	else
		group_close();
}

static void show_lines(const char *title, char *lines)
{
	printf("# %s:\n", title);
	for (char *line = strtok(lines, "\n"); line != NULL; line = strtok(NULL, "\n"))
		printf("#   %s\n", line);
}

static void check_same(char *stock, char *ours)
{
	if (strcmp(stock, ours) == 0)
		return;
	show_lines("without the library", stock);
	show_lines("with it", ours);
	AT;
	GROUP_FAIL("not the same");
}

static void driver_as_in_stock(void)
{
	static char stock[LINE_SIZE], ours[LINE_SIZE];

	run_driver(&all_stock, stock);
	/* Nothing is shown by two groups in which nothing works. */
	if (strstr(stock, ": 0:") == NULL)
		GROUP_FAIL("%s does not work in stock: %s", driver->name, stock);
	run_driver(mix, ours);
	check_same(stock, ours);
}

/* Each process fails in turn, asked by each in turn; the primary's rules hold, whatever they are. */
static void run_failures(const struct mix *which, char transcript[LINE_SIZE])
{
	static const char *const steps[] = { "probe", "remove" };

	transcript[0] = '\0';
	group_open();
	start_mix(which);
	for (int step = 0; step < 2; step++) {
		const char *command = step == 0 ? "attach tdrv0" : "detach tdrv0";

		for (int i = 0; i < PROCESSES * PROCESSES; i++) {
			struct peer *failing = peers[i % PROCESSES];

			behave(failing, "only=tdrv0 %s=%d", steps[step], FAILS);
			note(transcript, i / PROCESSES, command);
			behave(failing, " ");
		}
		note(transcript, 0, command);
	}
	group_close();
}

static void failures_as_in_stock(void)
{
	static char stock[LINE_SIZE], ours[LINE_SIZE];

	run_failures(&all_stock, stock);
	run_failures(mix, ours);
	check_same(stock, ours);
}

/*
 * Its remove in a secondary works on the primary's pointers and on a mutex that is not shared
 * between processes: DPDK's own processes crash of it. So detached where no other process has it.
 */
static void failsafe_alone(void)
{
	struct peer *alone;

	group_open();
	alone = start_peer(PRIMARY, NULL);
	for (int i = 0; i < 5; i++) {
		attach(alone, "net_failsafe0,dev(net_null5),dev(net_null6)", 0);
		check_lists(alone, "net_failsafe0 net_null5 net_null6");
		detach(alone, "net_failsafe0", 0);
		check_agree();
	}
	group_close();
}

/* Every process in turn fails, asked by every process in turn. */
static void failures(bool attach_it)
{
	const char *step = attach_it ? "probe" : "remove";

	group_open();
	start_mix(mix);
	if (!attach_it)
		attach(peers[0], "tdrv0", 0);
	for (int by = 0; by < PROCESSES; by++) {
		for (int failing = 0; failing < PROCESSES; failing++) {
			behave(peers[failing], "only=tdrv0 %s=%d", step, FAILS);
			AT;
			do_expect_code("the call", operate(peers[by], attach_it, "tdrv0"), FAILS);
			check_agree();
			behave(peers[failing], " ");
		}
		CHECK_INT(operate(peers[by], attach_it, "tdrv0"), 0);
		check_agree();
		CHECK_INT(operate(peers[by], !attach_it, "tdrv0"), 0);
		check_agree();
	}
	group_close();
}

static void attach_fails(void)
{
	failures(true);
}

static void detach_fails(void)
{
	failures(false);
}

/* The callers that have the library, and can tell. */
static void length_limit(void)
{
	static char longest[127 + 1], too_long[128 + 1];

	memset(longest, 'x', 127);
	memset(too_long, 'x', 128);
	memcpy(longest, "tdrv0,key=", 10);
	memcpy(too_long, "tdrv0,key=", 10);
	group_open();
	start_mix(mix);
	for (int by = 0; by < PROCESSES; by++) {
		if (mix->stock[by])
			continue;
		CHECK_INT(operate(peers[by], true, too_long), -E2BIG);
		check_agree();
		CHECK_INT(operate(peers[by], true, longest), 0);
		check_agree();
		CHECK_STR(ask(peers[0], "arguments tdrv0"), longest + strlen("tdrv0,"));
		detach(peers[by], "tdrv0", 0);
		check_agree();
	}
	for (int i = 0; i < PROCESSES; i++)
		CHECK_INT(counts_of(peers[i]).probes,
			  PROCESSES - mix->stock[0] - mix->stock[1] - mix->stock[2]);
	group_close();
}

/* One without the library is stopped: what it was asked stands in its queue, and its undoing too. */
static void stock_secondary_stopped(void)
{
	group_open();
	CHECK(group_setenv("RTE_HOTPLUG_STOCK_PEER_MS", "500"));
	start_mix(mix);
	stop_peer(peers[2]);
	attach(peers[0], "tdrv0", SILENT);
	check_lists(peers[0], "");
	check_lists(peers[1], "");
	continue_peer(peers[2]);
	wait_probes(peers[2], 1);
	wait_lists(peers[2], "");
	check_agree();
	attach(peers[0], "tdrv0", 0);
	check_agree();
	group_close();
}

static void stock_secondary_killed(void)
{
	group_open();
	start_mix(mix);
	kill_peer(peers[2]);
	for (int by = 0; by < 2; by++) {
		attach(peers[by], "tdrv0", 0);
		check_agree();
		detach(peers[by], "tdrv0", 0);
		check_agree();
	}
	wait_state(peers[0], peers[2], 0);
	peers[2] = start_peer(STOCK, NULL);
	behave(peers[2], "kill_probe=1");
	attach(peers[0], "tdrv0", 0);
	wait_killed(peers[2]);
	check_agree();
	group_close();
}

static void late_stock_secondary(void)
{
	group_open();
	start_mix(mix);
	attach(peers[1], "tdrv0", 0);
	attach(peers[0], "tdrv1", 0);
	detach(peers[2], "tdrv0", 0);
	start_peer(STOCK, NULL);
	check_agree();
	start_peer(mix->stock[0] ? STOCK : 0, NULL);
	check_agree();
	group_close();
}

static struct variant {
	const struct mix *mix;
	const struct driver *driver;
	void (*run)(void);
} variants[MIXES * (DRIVERS + 7)];
static size_t count;

static void run_variant(const void *what)
{
	const struct variant *variant = what;

	mix = variant->mix;
	driver = variant->driver;
	variant->run();
}

static void add(const char *name, void (*run)(void), const struct mix *in, const struct driver *of)
{
	variants[count] = (struct variant){ in, of, run };
	group_add_case(run_variant, &variants[count++], "%s%s%s%s", name,
		       of != NULL ? of->name : "", in != NULL ? ": " : "",
		       in != NULL ? in->name : "");
}

static void add_all(void)
{
	for (size_t d = 0; d < DRIVERS; d++)
		for (size_t m = 0; m < MIXES; m++)
			add("as in stock: ", driver_as_in_stock, &mixes[m], &drivers[d]);
	add("failsafe alone", failsafe_alone, NULL, NULL);
	for (size_t m = 1; m < MIXES; m++) {
		add("length of devargs", length_limit, &mixes[m], NULL);
		add("late secondaries", late_stock_secondary, &mixes[m], NULL);
		if (mixes[m].stock[0]) {
			add("failures as in stock", failures_as_in_stock, &mixes[m], NULL);
			continue;
		}
		add("attach fails", attach_fails, &mixes[m], NULL);
		add("detach fails", detach_fails, &mixes[m], NULL);
		add("stock secondary stopped", stock_secondary_stopped, &mixes[m], NULL);
		add("stock secondary killed", stock_secondary_killed, &mixes[m], NULL);
	}
}

int main(int argc, char **argv)
{
	if (argc != 3 && argc != 5) {
		fprintf(stderr, "usage: %s PEER LIBRARY [LINKED_PEER all|even|odd]\n", argv[0]);
		return EXIT_FAILURE;
	}
	group_begin(true, argv[1], argv[2]);
	if (argc == 5)
		group_use_linked(argv[3], argv[4]);
	make_files();
	atexit(remove_files);
	add_all();
	return group_run_cases();
}
