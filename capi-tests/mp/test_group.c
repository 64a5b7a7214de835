/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One device, all processes, or none: what callers may rely on in a group of processes, with real
 * ones (peer.c), which die, stop, fail and are slow as told.
 *
 * usage: test_group embedded PEER
 *        test_group fake PEER              (inside the fake EAL)
 *        test_group hosted PEER LIBRARY [LINKED_PEER all|even|odd]
 */
#include "test_group.h"

bool attaching, by_secondary;
struct peer *primary, *secondary[4], *caller;

void start_group(unsigned int secondaries)
{
	primary = start_peer(PRIMARY, NULL);
	for (unsigned int i = 0; i < secondaries; i++)
		secondary[i] = start_peer(UNREADY, NULL);
	for (unsigned int i = 0; i < secondaries; i++)
		wait_ready(secondary[i]);
	caller = by_secondary ? secondary[0] : primary;
}

void prepare(unsigned int secondaries)
{
	start_group(secondaries);
	if (!attaching)
		attach(primary, "tdrv0", 0);
	check_agree();
}

int try_it(void)
{
	return operate(caller, attaching, "tdrv0");
}

const char *step(void)
{
	return attaching ? "probe" : "remove";
}

const char *undo(void)
{
	return attaching ? "remove" : "probe";
}

void fail_step(struct peer *peer)
{
	behave(peer, "only=tdrv0 %s=%d", step(), FAILS);
}

void behave_well(struct peer *peer)
{
	behave(peer, " ");
}

void close_gate(struct peer *peer)
{
	behave(peer, "only=tdrv0 gate=%d", attaching ? 1 : 2);
}

void wait_at_gate(struct peer *peer)
{
	ask(peer, "reached");
}

void open_gate(struct peer *peer)
{
	ask(peer, "open");
}

void short_times(const char *name, const char *ms)
{
	CHECK(group_setenv(name, ms));
}

void do_wait_all_members(unsigned int secondaries)
{
	for (unsigned int i = 0; i < secondaries; i++)
		do_wait_state(primary, secondary[i], 1);
}

static struct variant {
	const struct scenario *scenario;
	bool attach, secondary;
} variants[MOST_CASES];
static size_t count;

static void run_variant(const void *what)
{
	const struct variant *variant = what;

	attaching = variant->attach;
	by_secondary = variant->secondary;
	group_open();
	variant->scenario->run();
	AT;
	group_close();
}

static void add(const struct scenario *scenario, bool attach_it, bool from_secondary)
{
	struct variant *variant = &variants[count++];
	int dimensions = scenario->variants;

	group_add_case(run_variant, variant, "%s%s%s", scenario->name,
		       !(dimensions & OPERATIONS) ? "" : attach_it ? ": attach" : ": detach",
		       !(dimensions & CALLERS) ? "" :
		       from_secondary	       ? " (from a secondary)" :
						 " (from the primary)");
	*variant = (struct variant){ scenario, attach_it, from_secondary };
}

static void add_variants(const struct scenario *scenario)
{
	int dimensions = scenario->variants;

	for (int operation = 0; operation < 2; operation++) {
		if (operation == 1 && !(dimensions & OPERATIONS))
			break;
		for (int from = 0; from < 2; from++)
			if ((from == 1 || !(dimensions & SECONDARY_ONLY)) &&
			    (from == 0 || (dimensions & (CALLERS | SECONDARY_ONLY))))
				add(scenario, dimensions & DETACH_ONLY ? false : operation == 0,
				    from == 1);
	}
}

static bool is_for(const struct scenario *scenario)
{
	if (group.fake)
		return scenario->modes == FAKE || scenario->modes == BOTH;
	return (scenario->modes & (group.hosted ? HOSTED : EMBEDDED)) != 0;
}

static void add_table(const struct scenario *table, const char *only)
{
	for (; table->name != NULL; table++)
		if (is_for(table) && (only == NULL || strstr(table->name, only) != NULL))
			add_variants(table);
}

int main(int argc, char **argv)
{
	static const struct scenario *const tables[] = {
		outcomes, losses, at_once, nested, members,
	};
	bool hosted = (argc == 4 || argc == 6) && strcmp(argv[1], "hosted") == 0;

	group.fake = argc == 3 && strcmp(argv[1], "fake") == 0;
	if (!hosted && !group.fake && (argc != 3 || strcmp(argv[1], "embedded") != 0)) {
		fprintf(stderr,
			"usage: %s embedded|fake PEER\n"
			"       %s hosted PEER LIBRARY [LINKED_PEER all|even|odd]\n",
			argv[0], argv[0]);
		return EXIT_FAILURE;
	}
	group_begin(hosted, argv[2], argv[3]);
	if (argc == 6)
		group_use_linked(argv[4], argv[5]);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		add_table(tables[i], getenv("GROUP_ONLY"));
	return group_run_cases();
}
