/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process of a group: does what it reads, line by line, and answers each line with one that begins
 * with '='. Built for the embedded runtime (-DPEER_EMBEDDED), and as a plain DPDK application, which
 * is stock, or ours under LD_PRELOAD, or ours linked in together with DPDK.
 *
 * It has a vdev driver, "tdrv", that behaves as told with the command "driver".
 *
 * usage: peer EAL_ARGUMENTS...
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"

static bool quitting;

void say(char mark, const char *format, ...)
{
	static pthread_mutex_t output_lock = PTHREAD_MUTEX_INITIALIZER;
	va_list arguments;

	va_start(arguments, format);
	pthread_mutex_lock(&output_lock);
	printf("%c", mark);
	vprintf(format, arguments);
	printf("\n");
	fflush(stdout);
	pthread_mutex_unlock(&output_lock);
	va_end(arguments);
}

void *ours(const char *name)
{
	return dlsym(RTLD_DEFAULT, name);
}

int attach(const char *devargs)
{
	return rte_dev_probe(devargs);
}

int detach(const char *name)
{
	struct rte_device *dev = find(name);

	return dev == NULL ? -ENODEV : rte_dev_remove(dev);
}

int unplug(const char *name)
{
	return rte_eal_hotplug_remove("vdev", name);
}

static int add(const char *name)
{
	return rte_eal_hotplug_add("vdev", name, "");
}

static int clean_up(const char *rest)
{
	(void)rest;
	return rte_eal_cleanup();
}

static int quit(const char *rest)
{
	quitting = true;
	return clean_up(rest);
}

static void show_list(char *rest)
{
	char text[LINE_SIZE] = "";

	(void)rest;
	list(text, sizeof(text));
	answer("%s", text);
}

static void show_arguments(char *name)
{
	answer("%s", arguments_of(name));
}

static void change_behaviour(char *words)
{
	set_behaviour(words);
	answer("0");
}

static int entries(const char *path)
{
	DIR *directory = opendir(path);
	int count = -3; /* ".", ".." and the directory itself */

	while (directory != NULL && readdir(directory) != NULL)
		count++;
	if (directory != NULL)
		closedir(directory);
	return count;
}

static long resident_pages(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long size = 0, resident = 0;

	if (file != NULL && fscanf(file, "%ld %ld", &size, &resident) != 2)
		resident = 0;
	if (file != NULL)
		fclose(file);
	return resident;
}

static void show_resources(char *rest)
{
	(void)rest;
	answer("%d %d %ld", entries("/proc/self/fd"), entries("/proc/self/task") + 1,
	       resident_pages());
}

static void show_peers(char *rest)
{
	char text[LINE_SIZE] = "";
	struct rte_hotplug_peer peers[64];
	int (*get)(struct rte_hotplug_peer *, unsigned int) = NULL;
	int count;

	(void)rest;
	*(void **)&get = ours("rte_hotplug_peers");
	count = get != NULL ? get(peers, 64) : 0;
	for (int i = 0; i < count && i < 64; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " %u:%d:%d",
			 peers[i].pid, (int)peers[i].state, peers[i].is_primary);
	answer("%d%s", count, text);
}

static void show_statistics(char *rest)
{
	struct rte_hotplug_statistics s = { .size = sizeof(s) };
	int (*get)(struct rte_hotplug_statistics *) = NULL;

	(void)rest;
	*(void **)&get = ours("rte_hotplug_statistics_get");
	if (get == NULL || get(&s) != 0) {
		answer("none");
		return;
	}
	answer("succeeded=%" PRIu64 " failed=%" PRIu64 " out_of_step=%" PRIu64 " calls=%" PRIu64
	       " requests=%" PRIu64 " joins=%" PRIu64 " departures=%" PRIu64 " stopped=%" PRIu64
	       " late=%" PRIu64 " bad=%" PRIu64 " refused=%" PRIu64,
	       s.succeeded, s.failed, s.out_of_step, s.calls, s.requests, s.joins, s.departures,
	       s.stopped, s.late_replies, s.bad_frames, s.refused);
}

/* A child that does not exec: it must not keep our sockets, and its calls are its own. */
static void fork_child(char *rest)
{
	int ready[2];
	char byte = 0;
	pid_t child;

	(void)rest;
	if (pipe(ready) != 0)
		exit(3);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, 0);
		close(STDOUT_FILENO);
		close(STDIN_FILENO);
		if (write(ready[1], "x", 1) != 1)
			_exit(3);
		for (;;)
			pause();
	}
	if (read(ready[0], &byte, 1) != 1)
		exit(3);
	close(ready[0]);
	close(ready[1]);
	answer("%d", (int)child);
}

/* What a child does for itself; its parent's group must not notice. The exit status. */
static int work_in_child(void)
{
	char nothing[] = "gate=0";

	set_behaviour(nothing);
	if (attach("tdrv7") != 0 || find("tdrv7") == NULL)
		return 1;
	if (detach("tdrv7") != 0)
		return 2;
#ifdef PEER_EMBEDDED
	/* DPDK's own would remove its parent's socket. */
	if (rte_eal_cleanup() != 0)
		return 3;
#endif
	return 0;
}

/* A child that calls, and exits: how. */
static void run_child(char *rest)
{
	int status = -1;
	pid_t child;

	(void)rest;
	fflush(stdout);
	child = fork();
	if (child == 0) {
		/* What hangs ends. */
		alarm(30);
		_exit(work_in_child());
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	answer("%d", status);
}

static const struct command commands[] = {
	{ "attach", .call = attach },
	{ "detach", .call = detach },
	{ "add", .call = add },
	{ "unplug", .call = unplug },
	{ "list", .run = show_list },
	{ "arguments", .run = show_arguments },
	{ "driver", .run = change_behaviour },
	{ "counts", .run = show_counts },
	{ "reached", .run = wait_until_reached },
	{ "open", .run = open_gate },
	{ "start-attach", .run = start_attach },
	{ "start-detach", .run = start_detach },
	{ "run", .run = run_labelled },
	{ "cycles", .run = cycles },
	{ "peers", .run = show_peers },
	{ "statistics", .run = show_statistics },
	{ "resources", .run = show_resources },
	{ "fork", .run = fork_child },
	{ "child", .run = run_child },
	{ "cleanup", .call = clean_up },
	{ "quit", .call = quit },
	{ 0 },
};

static const struct command *find_command(const struct command *table, const char *name)
{
	while (table->name != NULL && strcmp(table->name, name) != 0)
		table++;
	return table->name != NULL ? table : NULL;
}

static void obey(char *line)
{
	char *rest = line + strcspn(line, " ");
	const struct command *command;

	if (*rest != '\0')
		*rest++ = '\0';
	command = find_command(commands, line);
	if (command == NULL)
		command = find_command(runtime_commands, line);
	if (command == NULL)
		answer("what is \"%s\"?", line);
	else if (command->call != NULL)
		answer("%d", command->call(rest));
	else
		command->run(rest);
}

/* DPDK maps shared memory where the primary has it, which chance may have filled: no chance here. */
static void start_without_randomness(char **argv)
{
	int now = personality(0xffffffff);

	if (now != -1 && !(now & ADDR_NO_RANDOMIZE) && personality(now | ADDR_NO_RANDOMIZE) != -1)
		execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	char line[LINE_SIZE], *first = getenv("PEER_DRIVER");

	start_without_randomness(argv);
	/* No orphans: a test that dies takes its processes with it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (first != NULL)
		set_behaviour(first);
	register_driver();
	if (rte_eal_init(argc, argv) < 0) {
		answer("init failed");
		return 1;
	}
	answer("ready");
	while (!quitting && fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		obey(line);
	}
	return 0;
}
