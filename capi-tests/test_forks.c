/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forks of a process whose threads are in the middle of everything: a child is free to call, to exec and
 * to exit, nothing hangs in it, and its parent does not notice.
 */

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "suite.h"

#define FORKS 400
/* Only a hang takes so long, in seconds. */
#define PATIENCE 60

extern char **environ;

static void on_event(const char *name, enum rte_dev_event_type type, void *arg)
{
	(void)name, (void)type, (void)arg;
}

/* Waits for a child; one that hangs is killed. */
static int end_of(pid_t child)
{
	struct pollfd ended = { .events = POLLIN };
	int status = -1;

	ended.fd = (int)syscall(SYS_pidfd_open, child, 0);
	if (ended.fd < 0 || poll(&ended, 1, PATIENCE * 1000) != 1) {
		printf("# process %d hangs\n", (int)child);
		kill(child, SIGKILL);
	}
	close(ended.fd);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	return status;
}

/* What a child found wrong, as its exit status. */
static int in_child(int (*work)(void))
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0)
		_exit(work());
	return child < 0 ? -errno : end_of(child);
}

/* What every child may do, whatever its parent's threads did. */
static int call_for_events(void)
{
	struct rte_hotplug_auto_options options = { .size = sizeof(options), .device = "ffff:ffff" };
	struct rte_hotplug_auto *rule = NULL;

	if (rte_dev_event_callback_register("child", on_event, &options) != 0)
		return 1;
	if (rte_dev_event_monitor_start() != 0 || rte_dev_event_monitor_stop() != 0)
		return 2;
	if (rte_dev_event_callback_unregister("child", on_event, &options) != 1)
		return 3;
	if (rte_hotplug_auto_add(&options, &rule) != 0 || rte_hotplug_auto_remove(rule) != 0)
		return 4;
	return 0;
}

#ifndef SUITE_HOSTED
/* Without DPDK it attaches as well. */
static int attach(void)
{
	struct rte_device *dev;

	if (rte_dev_probe("hotplug_null_child") != 0)
		return 5;
	dev = rte_hotplug_device_find("vdev", "hotplug_null_child");
	if (rte_hotplug_device_state(dev) != RTE_HOTPLUG_DEVICE_PROBED)
		return 6;
	if (rte_dev_remove(dev) != 0)
		return 7;
	/* Some thread that is not here may have begun with it: whatever comes of it comes at once. */
	if (rte_eal_hotplug_add("vdev", "hotplug_null0", "") == 0 &&
	    rte_eal_hotplug_remove("vdev", "hotplug_null0") != 0)
		return 8;
	return 0;
}

static int attach_and_clean_up(void)
{
	int result = attach();

	return result != 0 ? result : rte_eal_cleanup() == 0 ? 0 : 9;
}
#endif

static int call_and_exec(void)
{
	int result = call_for_events();

	if (result != 0)
		return result;
	execlp("true", "true", NULL);
	return 10;
}

static int leave(void)
{
	return 0;
}

static _Atomic bool stop;
static _Atomic int unexpected;

static void *change_devices(void *arg)
{
	const char *name = arg;

	while (!stop) {
		if (rte_eal_hotplug_add("vdev", name, "") != 0 ||
		    rte_eal_hotplug_remove("vdev", name) != 0)
			unexpected++;
	}
	return NULL;
}

static void *change_callbacks(void *arg)
{
	while (!stop) {
		if (rte_dev_event_callback_register("parent", on_event, arg) != 0)
			unexpected++;
		rte_dev_event_callback_process("parent", RTE_DEV_EVENT_ADD);
		/* Another thread may be running it. */
		while (rte_dev_event_callback_unregister("parent", on_event, arg) == -EAGAIN)
			sched_yield();
	}
	return NULL;
}

static void *change_monitor(void *arg)
{
	struct rte_hotplug_auto_options options = { .size = sizeof(options), .device = "ffff:ffff" };

	(void)arg;
	while (!stop) {
		struct rte_hotplug_auto *rule = NULL;

		if (rte_dev_event_monitor_start() != 0 || rte_dev_event_monitor_stop() != 0 ||
		    rte_hotplug_auto_add(&options, &rule) != 0 ||
		    rte_hotplug_auto_remove(rule) != 0 || rte_dev_hotplug_handle_enable() != 0 ||
		    rte_dev_hotplug_handle_disable() != 0)
			unexpected++;
	}
	return NULL;
}

static int parse_own(const char *name, void *user)
{
	(void)user;
	return strncmp(name, "fork", 4);
}

static int scan_any(struct rte_hotplug_bus *on, const char *name, void *user)
{
	(void)user;
	return name != NULL ? rte_hotplug_bus_add_device(on, name, -1) : 0;
}

static const struct rte_hotplug_bus_options of_bus = {
	.size = sizeof(of_bus), .name = "fork", .parse = parse_own, .scan = scan_any
};

static void *change_registry(void *arg)
{
	(void)arg;
	while (!stop) {
		struct rte_hotplug_bus *added;

		if (rte_hotplug_bus_register(&of_bus, &added) != 0)
			unexpected++;
		/* A name is looked up on every bus. */
		while (rte_hotplug_bus_unregister(added) == -EBUSY)
			sched_yield();
	}
	return NULL;
}

/* Runs `work` beside threads that do everything. */
static void beside_threads(void (*work)(void))
{
	static const char *const names[] = { "null0", "null1" };
	char devices[2][64];
	pthread_t threads[6];
	int count = 0;

	suite_use_all_cpus();
	stop = false;
	unexpected = 0;
	for (int i = 0; i < 2; i++) {
		snprintf(devices[i], sizeof(devices[i]), "%s_%s",
			 suite_hosted() ? "net" : "hotplug", names[i]);
		CHECK_INT(pthread_create(&threads[count++], NULL, change_devices, devices[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		CHECK_INT(pthread_create(&threads[count++], NULL, change_callbacks, devices[i]), 0);
	CHECK_INT(pthread_create(&threads[count++], NULL, change_monitor, NULL), 0);
	CHECK_INT(pthread_create(&threads[count++], NULL, change_registry, NULL), 0);
	work();
	stop = true;
	while (count-- > 0)
		CHECK_INT(pthread_join(threads[count], NULL), 0);
	CHECK_INT(unexpected, 0);
}

/* A child for each fork: a failure is left for after the threads have ended. */
static int first_failure;

static void fork_often(void)
{
	static int (*const works[])(void) = {
		leave,		 call_and_exec, call_for_events,
#ifndef SUITE_HOSTED
		attach_and_clean_up, attach,
#endif
	};

	first_failure = 0;
	for (int i = 0; i < suite_scaled(FORKS) && first_failure == 0; i++)
		first_failure = in_child(works[(size_t)i % (sizeof(works) / sizeof(works[0]))]);
}

static void children_are_free(void)
{
	beside_threads(fork_often);
	CHECK_INT(first_failure, 0);
}

static pid_t spawn_by_vfork(char *const *arguments)
{
	pid_t child = vfork();

	if (child == 0) {
		execvp("true", arguments);
		_exit(11);
	}
	return child;
}

static void spawn_often(void)
{
	char *arguments[] = { (char *)"true", NULL };

	first_failure = 0;
	for (int i = 0; i < suite_scaled(100) && first_failure == 0; i++) {
		pid_t child = -1;

		first_failure = system("true");
		if (first_failure == 0)
			first_failure = posix_spawnp(&child, "true", NULL, NULL, arguments, environ);
		if (first_failure == 0)
			first_failure = end_of(child);
		if (first_failure == 0)
			first_failure = end_of(spawn_by_vfork(arguments));
	}
}

static void spawned_programs_run(void)
{
	beside_threads(spawn_often);
	CHECK_INT(first_failure, 0);
}

/* Two threads fork at once. */
static void *fork_in_thread(void *arg)
{
	int *result = arg;

	for (int i = 0; i < suite_scaled(100) && *result == 0; i++)
		*result = in_child(call_for_events);
	return NULL;
}

static void fork_in_threads(void)
{
	int results[2] = { 0, 0 };
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, fork_in_thread, &results[i]), 0);
	for (int i = 0; i < 2; i++)
		CHECK_INT(pthread_join(threads[i], NULL), 0);
	first_failure = results[0] != 0 ? results[0] : results[1];
}

static void threads_fork_at_once(void)
{
	beside_threads(fork_in_threads);
	CHECK_INT(first_failure, 0);
}

/* A child of a child. */
static int fork_again(void)
{
	return call_for_events() == 0 && in_child(call_for_events) == 0 ? 0 : 12;
}

static void fork_generations(void)
{
	first_failure = 0;
	for (int i = 0; i < suite_scaled(50) && first_failure == 0; i++)
		first_failure = in_child(fork_again);
}

static void grandchildren_are_free(void)
{
	beside_threads(fork_generations);
	CHECK_INT(first_failure, 0);
}

/* In a callback, and in a driver while it attaches a device: another thread waits for that one. */
static _Atomic int inner;

static void fork_inside(const char *name, enum rte_dev_event_type type, void *arg)
{
	(void)name, (void)type, (void)arg;
	inner = in_child(call_for_events);
}

static void a_callback_forks(void)
{
	inner = -1;
	CHECK_INT(rte_dev_event_callback_register("x", fork_inside, NULL), 0);
	rte_dev_event_callback_process("x", RTE_DEV_EVENT_ADD);
	CHECK_INT(rte_dev_event_callback_unregister("x", fork_inside, NULL), 1);
	CHECK_INT(inner, 0);
}

static struct rte_hotplug_bus *bus;
static struct rte_hotplug_driver *driver;

static int attach_same(void)
{
	/* Its own, from inside: the same operation. Another one beside it, too. */
	if (rte_dev_probe("fork:forks_other") != 0)
		return 13;
	return rte_eal_hotplug_remove("fork", "forks_other") == 0 ? 0 : 14;
}

static int probe_forks(struct rte_device *dev, void *user)
{
	(void)user;
	if (strcmp(rte_hotplug_device_name(dev), "forks") == 0)
		inner = in_child(attach_same);
	return 0;
}

static int remove_nothing(struct rte_device *dev, void *user)
{
	(void)dev, (void)user;
	return 0;
}

static void register_driver(rte_hotplug_driver_fn probe)
{
	struct rte_hotplug_driver_options options = {
		.size = sizeof(options), .name = "forks", .bus = "fork",
		.probe = probe,		 .remove = remove_nothing,
	};

	CHECK_INT(rte_hotplug_bus_register(&of_bus, &bus), 0);
	CHECK_INT(rte_hotplug_driver_register(&options, &driver), 0);
}

static void unregister_driver(void)
{
	CHECK_INT(rte_hotplug_driver_unregister(driver), 0);
	CHECK_INT(rte_hotplug_bus_unregister(bus), 0);
}

static void a_driver_forks(void)
{
	inner = -1;
	register_driver(probe_forks);
	CHECK_INT(rte_dev_probe("fork:forks"), 0);
	CHECK_INT(rte_eal_hotplug_remove("fork", "forks"), 0);
	unregister_driver();
	CHECK_INT(inner, 0);
}

/* A driver works in another thread while this one forks: its device is free in the child. */
static int to_driver[2], from_driver[2];
static bool is_child;

static int probe_waits(struct rte_device *dev, void *user)
{
	char byte;

	(void)dev, (void)user;
	if (is_child)
		return 0;
	return write(from_driver[1], "", 1) == 1 && read(to_driver[0], &byte, 1) == 1 ? 0 : -EIO;
}

static void *attach_slowly(void *arg)
{
	(void)arg;
	return rte_dev_probe("fork:forks") == 0 ? NULL : (void *)-1;
}

static int take_over(void)
{
	is_child = true;
	/* The device that has been begun with, and another of the same driver. */
	if (rte_dev_probe("fork:forks") != 0)
		return 15;
	return attach_same();
}

static void a_driver_works_elsewhere(void)
{
	pthread_t thread;
	void *result;
	char byte;

	CHECK_INT(pipe(to_driver) | pipe(from_driver), 0);
	register_driver(probe_waits);
	CHECK_INT(pthread_create(&thread, NULL, attach_slowly, NULL), 0);
	CHECK_INT(read(from_driver[0], &byte, 1), 1);
	inner = in_child(take_over);
	CHECK_INT(write(to_driver[1], "", 1), 1);
	CHECK_INT(pthread_join(thread, &result), 0);
	CHECK(result == NULL);
	CHECK_INT(rte_eal_hotplug_remove("fork", "forks"), 0);
	unregister_driver();
	CHECK_INT(inner, 0);
}

#ifndef SUITE_HOSTED
static void *fail_and_log(void *arg)
{
	(void)arg;
	return rte_dev_probe("no_such_driver0") == -EFAULT ? NULL : (void *)-1;
}

/* 1 if the call is refused because of what a thread of the parent does. */
static int call_quietly(void)
{
	int result;

	dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
	result = rte_dev_probe("no_such_driver0");
	return result == -EDEADLK ? 1 : result == -EFAULT ? 0 : 16;
}

/* A thread is in the middle of a log line for as long as nobody reads it: the child is told, and does not hang. */
static void a_child_of_what_does_not_end_is_refused(void)
{
	int log[2], saved = dup(STDERR_FILENO), refused = 0;
	char bytes[4096] = { 0 };
	pthread_t thread;
	void *result;

	CHECK_INT(pipe(log), 0);
	CHECK_INT(fcntl(log[1], F_SETFL, O_NONBLOCK), 0);
	while (write(log[1], bytes, sizeof(bytes)) > 0)
		continue;
	CHECK_INT(fcntl(log[1], F_SETFL, 0), 0);
	dup2(log[1], STDERR_FILENO);
	CHECK_INT(pthread_create(&thread, NULL, fail_and_log, NULL), 0);
	/* Until it has come to that. */
	for (int i = 0; i < 1000 && refused == 0; i++)
		refused = in_child(call_quietly);
	dup2(saved, STDERR_FILENO);
	CHECK(read(log[0], bytes, sizeof(bytes)) > 0);
	CHECK_INT(pthread_join(thread, &result), 0);
	CHECK(result == NULL);
	close(saved);
	close(log[0]);
	close(log[1]);
	CHECK_INT(WIFEXITED(refused) ? WEXITSTATUS(refused) : -1, 1);
}
#endif

static const struct test_case cases[] = {
	{ "children are free", children_are_free },
	{ "spawned programs run", spawned_programs_run },
	{ "threads fork at once", threads_fork_at_once },
	{ "grandchildren are free", grandchildren_are_free },
	{ "a callback forks", a_callback_forks },
	{ "a driver forks", a_driver_forks },
	{ "a driver works elsewhere", a_driver_works_elsewhere },
#ifndef SUITE_HOSTED
	{ "a child of what does not end is refused", a_child_of_what_does_not_end_is_refused },
#endif
};

#ifndef SUITE_HOSTED
/* Before anything was called: a process of its own. */
static int call_first(void)
{
	return attach_and_clean_up();
}
#endif

int main(void)
{
#ifndef SUITE_HOSTED
	if (in_child(call_first) != 0) {
		printf("Bail out! a child forked before the first call\n");
		return EXIT_FAILURE;
	}
#endif
	suite_start();
	return suite_run(cases, sizeof(cases) / sizeof(cases[0]));
}
