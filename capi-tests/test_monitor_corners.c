/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The monitor of device events where it is easily forgotten: in forked children, ended by its own
 * callbacks, and when others close what it reads. Each case is a process with an EAL of its own.
 */

#ifndef SUITE_HOSTED
#include <sys/resource.h>
#endif
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kernel_events.h"

/* The protocol of sockets for device events, NETLINK_KOBJECT_UEVENT. */
#define UEVENTS 15

/* Runs a part of a case in a child; what hangs ends. */
static pid_t fork_part(void (*part)(void))
{
	pid_t child;

	fflush(stdout);
	child = fork();
	CHECK(child >= 0);
	if (child > 0)
		return child;
	alarm(PATIENCE);
	harness_failed = false;
	if (setjmp(harness_next) == 0)
		part();
	fflush(stdout);
	_exit(harness_failed);
}

static void wait_for_part(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) != child)
		CHECK(errno == EINTR);
	CHECK_INT(status, 0);
}

/* The case that a process with an EAL runs. */
static void (*current)(void);

static void run_with_eal(void)
{
	suite_start();
	current();
	CHECK_INT(rte_eal_cleanup(), 0);
	suite_remove_directory();
}

static void in_a_process(void (*run)(void))
{
	current = run;
	wait_for_part(fork_part(run_with_eal));
}

/* The monitor's socket; -1 when it has none. */
static int find_socket(void)
{
	for (int fd = 0; fd < 1024; fd++) {
		int domain = 0, protocol = 0;
		socklen_t size = sizeof(int);

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
		    getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 &&
		    domain == AF_NETLINK && protocol == UEVENTS)
			return fd;
	}
	return -1;
}

/* Lets parent and child wait for each other. */
static struct {
	int to_child[2], to_parent[2];
} pipes;

static void say(const int *pipe)
{
	CHECK_INT(write(pipe[1], "", 1), 1);
}

static void hear(const int *pipe)
{
	char byte;

	CHECK_INT(read(pipe[0], &byte, 1), 1);
}

static bool parent_listens;

static void listen_in_child(void)
{
	/* Nobody else may keep its end open. */
	close(pipes.to_child[1]);
	prepare();
	CHECK_INT(find_socket(), -1);
	say(pipes.to_parent);
	hear(pipes.to_child);
	CHECK_INT(seen.added, parent_listens);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	for (int round = 1; round <= 2; round++) {
		CHECK_INT(rte_dev_event_monitor_start(), 0);
		say(pipes.to_parent);
		wait_told(2);
		CHECK_INT(seen.added, parent_listens + round);
		CHECK_INT(seen.removed, round);
		CHECK_INT(rte_dev_event_monitor_stop(), 0);
		CHECK_INT(find_socket(), -1);
	}
	count_no_more();
	/* To a leak check all would be lost that only the parent's threads knew. */
	if (!harness_failed)
		execlp("true", "true", NULL);
}

static void listen_in_both(void)
{
	pid_t child;

	CHECK_INT(pipe(pipes.to_child) | pipe(pipes.to_parent), 0);
	count_from_now(0);
	if (parent_listens) {
		CHECK_INT(rte_dev_event_monitor_start(), 0);
		announce("add", 1);
		wait_told(1);
	}
	child = fork_part(listen_in_child);
	close(pipes.to_parent[1]);
	hear(pipes.to_parent);
	/* This one is not told in the child. */
	announce("add", 1);
	if (parent_listens)
		wait_told(1);
	say(pipes.to_child);
	for (int round = 0; round < 2; round++) {
		hear(pipes.to_parent);
		announce("add", 1);
		announce("remove", 1);
	}
	wait_for_part(child);
	if (!parent_listens)
		CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("add", 1);
	announce("remove", 1);
	wait_told(parent_listens ? 6 : 2);
	CHECK_INT(seen.added, parent_listens ? 5 : 1);
	CHECK_INT(seen.removed, parent_listens ? 3 : 1);
	CHECK_INT(seen.on_interrupt_thread, suite_hosted());
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	count_no_more();
}

static void a_child_has_a_monitor_of_its_own(void)
{
	parent_listens = true;
	in_a_process(listen_in_both);
}

static void a_child_has_the_only_monitor(void)
{
	parent_listens = false;
	in_a_process(listen_in_both);
}

static _Atomic int calls, result;

static void end_inside(const char *name, enum rte_dev_event_type type, void *arg)
{
	(void)name, (void)type, (void)arg;
	calls++;
	result = rte_eal_cleanup();
	sem_post(&told);
}

/* Returns when it runs no longer. */
static void unregister(rte_dev_event_cb_fn callback)
{
	int code;

	while ((code = rte_dev_event_callback_unregister(NULL, callback, (void *)-1)) == -EAGAIN)
		sched_yield();
	CHECK_INT(code, 1);
}

static void end_eal_inside(void)
{
	suite_start();
	prepare();
	result = -1;
	CHECK_INT(rte_dev_event_callback_register(device, end_inside, NULL), 0);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("add", 100);
	wait_told(1);
	CHECK_INT(result, 0);
	unregister(end_inside);
	/* EAL lets go of it after its callback. */
	while (find_socket() >= 0)
		sched_yield();
	CHECK_INT(calls, 1);
#ifndef SUITE_HOSTED
	/* DPDK starts once in a process. */
	run_with_eal();
#endif
	suite_remove_directory();
}

static void listen_once(void)
{
	count_from_now(0);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("add", 1);
	announce("remove", 1);
	wait_told(2);
	CHECK_INT(seen.added, 1);
	CHECK_INT(seen.removed, 1);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	count_no_more();
}

static void a_callback_ends_the_eal(void)
{
	current = listen_once;
	wait_for_part(fork_part(end_eal_inside));
}

static void be_slow(const char *name, enum rte_dev_event_type type, void *arg)
{
	struct timespec pause = { .tv_nsec = 100000000 };

	(void)name, (void)type, (void)arg;
	sem_post(&told);
	nanosleep(&pause, NULL);
	calls++;
}

static void end_eal_meanwhile(void)
{
	suite_start();
	prepare();
	CHECK_INT(rte_dev_event_callback_register(device, be_slow, NULL), 0);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("add", 2);
	wait_told(1);
	CHECK_INT(rte_eal_cleanup(), 0);
	CHECK_INT(calls, 1);
	suite_remove_directory();
}

static void the_eals_end_waits_for_a_callback(void)
{
	wait_for_part(fork_part(end_eal_meanwhile));
}

static void leave_inside(const char *name, enum rte_dev_event_type type, void *arg)
{
	(void)type;
	calls++;
	EXPECT(rte_dev_event_callback_unregister(name, count, NULL) == 1);
	EXPECT(rte_dev_event_callback_unregister(name, leave_inside, arg) == 1);
	sem_post(&told);
}

static void leave_uevents_inside(const struct rte_hotplug_uevent *event, void *arg)
{
	(void)event;
	calls++;
	EXPECT(rte_hotplug_uevent_callback_unregister("pci", leave_uevents_inside, arg) == 1);
	sem_post(&told);
}

static void unregister_inside(void)
{
	prepare();
	CHECK_INT(rte_dev_event_callback_register(device, leave_inside, NULL), 0);
	count_from_now(0);
	CHECK_INT(rte_hotplug_uevent_callback_register("pci", leave_uevents_inside, NULL), 0);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("add", 10);
	wait_told(2);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	CHECK_INT(calls, 2);
	CHECK_INT(seen.added, 0);
	listen_once();
	CHECK_INT(calls, 2);
}

static void a_callback_unregisters_itself_and_others(void)
{
	in_a_process(unregister_inside);
}

static struct rte_hotplug_monitor_statistics statistics(void)
{
	struct rte_hotplug_monitor_statistics now = { .size = sizeof(now) };

	CHECK_INT(rte_hotplug_monitor_statistics_get(&now), 0);
	return now;
}

static _Atomic int found;

static void find(const char *name, enum rte_dev_event_type type, void *arg)
{
	(void)arg;
	if (strcmp(name, "0000:aa:00.0") == 0 && type == RTE_DEV_EVENT_ADD)
		found++;
	sem_post(&told);
}

/* A tree of PCI functions that are directories. */
static char tree[32];

static void add_function(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%.64s", tree, name);
	CHECK_INT(mkdir(path, 0700), 0);
}

static void remove_tree(void)
{
	static const char *const names[] = { device, "0000:aa:00.0" };
	char path[128];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%.64s", tree, names[i]);
		CHECK_INT(rmdir(path), 0);
	}
	CHECK_INT(rmdir(tree), 0);
}

/* Takes the socket's place, or nothing if negative. */
static int successor;

/* It finds out when the kernel tells something, which is lost like all from then on until it looks. */
static void lose_socket(void)
{
	uint64_t overruns;
	int taken;

	CHECK_INT(rte_dev_event_callback_register(NULL, find, NULL), 0);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("add", 1);
	wait_told(1);
	overruns = statistics().overruns;
	taken = find_socket();
	CHECK_INT(successor < 0 ? close(taken) : dup2(successor, taken), successor < 0 ? 0 : taken);
	add_function("0000:aa:00.0");
	announce("change", 1);
	while (statistics().overruns == overruns)
		sched_yield();
	while (found == 0)
		wait_told(1);
	CHECK(find_socket() >= 0);
	unregister(find);
	/* The next ones are told as ever. */
	count_from_now(0);
	announce("add", 1);
	announce("remove", 1);
	wait_told(2);
	CHECK_INT(seen.added, 1);
	CHECK_INT(seen.removed, 1);
	CHECK_INT(seen.on_interrupt_thread, suite_hosted());
	CHECK_INT(found, 1);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	count_no_more();
	CHECK_INT(find_socket(), -1);
	CHECK_INT(fcntl(taken, F_GETFD) >= 0, successor >= 0);
}

static void lose_socket_in_tree(void)
{
	prepare();
	snprintf(tree, sizeof(tree), "/tmp/hotplug_pci_XXXXXX");
	CHECK(mkdtemp(tree) != NULL);
	setenv("SYSFS_PCI_DEVICES", tree, 1);
	add_function(device);
	lose_socket();
	remove_tree();
}

static void close_socket(void)
{
	successor = -1;
	lose_socket_in_tree();
}

/* Of what is sent to somebody else one message is taken at most. */
static void replace_socket(void)
{
	int pair[2];
	char text[8];

	CHECK_INT(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	for (int i = 0; i < 2; i++)
		CHECK_INT(send(pair[1], "mine", 4, 0), 4);
	successor = pair[0];
	lose_socket_in_tree();
	CHECK_INT(recv(pair[0], text, sizeof(text), MSG_DONTWAIT), 4);
}

static void somebody_closes_its_socket(void)
{
	in_a_process(close_socket);
}

static void somebody_takes_its_sockets_place(void)
{
	in_a_process(replace_socket);
}

#ifndef SUITE_HOSTED
/*
 * Each time with one descriptor more: -EMFILE until there are enough, then it runs. EAL's interrupt
 * thread would end the process: it opens one, too.
 */
static void start_with_few_descriptors(void)
{
	struct rlimit usual, few;
	int code = -EMFILE;

	CHECK_INT(getrlimit(RLIMIT_NOFILE, &usual), 0);
	few = usual;
	for (few.rlim_cur = 0; code == -EMFILE && few.rlim_cur < usual.rlim_cur; few.rlim_cur++) {
		CHECK_INT(setrlimit(RLIMIT_NOFILE, &few), 0);
		code = rte_dev_event_monitor_start();
		CHECK_INT(setrlimit(RLIMIT_NOFILE, &usual), 0);
		CHECK(code == 0 || find_socket() == -1);
	}
	CHECK_INT(code, 0);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	/* Nobody has started it besides. */
	CHECK_INT(find_socket(), -1);
	listen_once();
}

static void too_few_descriptors(void)
{
	in_a_process(start_with_few_descriptors);
}
#endif

static const struct test_case cases[] = {
	{ "a child has a monitor of its own", a_child_has_a_monitor_of_its_own },
	{ "a child has the only monitor", a_child_has_the_only_monitor },
	{ "a callback ends the EAL", a_callback_ends_the_eal },
	{ "the EAL's end waits for a callback", the_eals_end_waits_for_a_callback },
	{ "a callback unregisters itself and others", a_callback_unregisters_itself_and_others },
	{ "somebody closes its socket", somebody_closes_its_socket },
	{ "somebody takes its socket's place", somebody_takes_its_sockets_place },
#ifndef SUITE_HOSTED
	{ "too few descriptors (U9)", too_few_descriptors },
#endif
};

int main(void)
{
	take_device();
	return run_table(cases, sizeof(cases) / sizeof(cases[0]));
}
