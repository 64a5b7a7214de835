/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "group.h"

struct group group;
static char group_environment[4][NAME_SIZE];

double group_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void group_nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 5 * 1000 * 1000 }, NULL);
}

bool group_setenv(const char *name, const char *value)
{
	for (size_t i = 0; i < sizeof(group_environment) / sizeof(group_environment[0]); i++) {
		if (group_environment[i][0] == '\0') {
			snprintf(group_environment[i], NAME_SIZE, "%s", name);
			return setenv(name, value, 1) == 0;
		}
	}
	return false;
}

/* What DPDK and the embedded runtime leave behind: flat directories. */
void group_remove_files(const char *directory, const char *prefix)
{
	DIR *entries = opendir(directory);
	struct dirent *entry;

	while (entries != NULL && (entry = readdir(entries)) != NULL)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			unlinkat(dirfd(entries), entry->d_name, 0);
	if (entries != NULL)
		closedir(entries);
}

static void group_clean(void)
{
	char pages[2 * NAME_SIZE];

	if (group.prefix[0] == '\0')
		return;
	group_remove_files(group.directory, "");
	rmdir(group.directory);
	if (group.hosted) {
		snprintf(pages, sizeof(pages), "%smap_", group.prefix);
		group_remove_files("/dev/hugepages", pages);
	}
	group.prefix[0] = '\0';
}

void group_kill(void)
{
	for (size_t i = group.count; i-- > 0;) {
		end_peer(&group.peers[i]);
		close(group.peers[i].log);
	}
	for (size_t i = 0; i < group.child_count; i++)
		kill(group.children[i], SIGKILL);
	group.count = group.child_count = 0;
	group_clean();
}

/* What the processes wrote last, for one who looks for a failure's cause. */
static void group_show_log(void)
{
	for (size_t i = 0; i < group.count; i++) {
		char text[4096];
		off_t size = lseek(group.peers[i].log, 0, SEEK_END);
		off_t from = size > (off_t)sizeof(text) ? size - (off_t)sizeof(text) : 0;
		ssize_t length = pread(group.peers[i].log, text, sizeof(text) - 1, from);

		text[length > 0 ? length : 0] = '\0';
		for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
			printf("# %d: %s\n", (int)group.peers[i].pid, line);
	}
}

void group_begin(bool hosted, const char *program, const char *library)
{
	sigset_t ends;

	group.hosted = hosted;
	group.program = program;
	/* The linker takes a name without a slash for one to look for. */
	group.library = library != NULL ? realpath(library, NULL) : NULL;
	if (library != NULL && group.library == NULL) {
		printf("Bail out! %s: %s\n", library, strerror(errno));
		exit(EXIT_FAILURE);
	}
	/* Whoever ends this program early, meson for one, gets everything cleaned up. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	group.signals = signalfd(-1, &ends, SFD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	if (group.signals < 0) {
		printf("Bail out! cannot start: %s\n", strerror(errno));
		exit(EXIT_FAILURE);
	}
	atexit(group_kill);
}

void group_use_linked(const char *program, const char *which)
{
	group.linked = program;
	group.which = which;
}

static void group_name(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		runtime = "/var/run";
	snprintf(group.prefix, sizeof(group.prefix), "hotplug_cases_%d_%u", (int)getpid(),
		 ++group.number);
	snprintf(group.directory, sizeof(group.directory), "%s/dpdk/%s",
		 runtime != NULL ? runtime : "/tmp", group.prefix);
}

void group_open(void)
{
	if (group.count > 0)
		group_show_log();
	group_kill();
	for (size_t i = 0; i < sizeof(group_environment) / sizeof(group_environment[0]); i++) {
		if (group_environment[i][0] != '\0')
			unsetenv(group_environment[i]);
		group_environment[i][0] = '\0';
	}
	memset(group.devices, 0, sizeof(group.devices));
	group.someone_killed = false;
	group_name();
}

/* Nobody needs the sockets of processes that have left properly. */
static void check_no_sockets(void)
{
	DIR *entries = opendir(group.directory);
	struct dirent *entry;
	char left[NAME_SIZE * 4] = "";

	while (entries != NULL && (entry = readdir(entries)) != NULL)
		if (strcmp(entry->d_name, "rte_hotplug") == 0 ||
		    strncmp(entry->d_name, "rte_hotplug_", 12) == 0)
			snprintf(left, sizeof(left), "%.200s", entry->d_name);
	if (entries != NULL)
		closedir(entries);
	if (left[0] != '\0')
		GROUP_FAIL("%s is left behind", left);
}

void group_close(void)
{
	for (int primaries = 0; primaries < 2; primaries++) {
		for (size_t i = 0; i < group.count; i++)
			if (!group.peers[i].ended && group.peers[i].primary == primaries)
				tell(&group.peers[i], "quit");
		for (size_t i = 0; i < group.count; i++) {
			struct peer *peer = &group.peers[i];

			if (peer->ended || peer->primary != primaries)
				continue;
			if (strcmp(answer_of(peer), "0") != 0)
				GROUP_FAIL("rte_eal_cleanup of process %d: %s", (int)peer->pid,
					   peer->line);
			wait_end(peer, 0);
		}
	}
	if (!group.someone_killed)
		check_no_sockets();
	group_kill();
}

static struct group_case {
	void (*run)(const void *what);
	const void *what;
	char name[2 * NAME_SIZE];
} cases[MOST_CASES];
static size_t case_count, next_case;

void group_add_case(void (*run)(const void *what), const void *what, const char *name, ...)
{
	struct group_case *added = &cases[case_count];
	va_list arguments;

	if (case_count++ == MOST_CASES) {
		printf("Bail out! too many cases\n");
		exit(EXIT_FAILURE);
	}
	added->run = run;
	added->what = what;
	va_start(arguments, name);
	vsnprintf(added->name, sizeof(added->name), name, arguments);
	va_end(arguments);
}

/* The harness calls functions without arguments, in the order of its table. */
static void run_next_case(void)
{
	const struct group_case *next = &cases[next_case++];

	next->run(next->what);
}

int group_run_cases(void)
{
	static struct test_case table[MOST_CASES];
	int result;

	for (size_t i = 0; i < case_count; i++)
		table[i] = (struct test_case){ cases[i].name, run_next_case };
	result = run_table(table, case_count);
	if (group.count > 0)
		group_show_log();
	return result;
}
