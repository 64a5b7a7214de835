/* SPDX-License-Identifier: BSD-3-Clause */
/* The monitor of the kernel's device events, with events that the real kernel sends. */

#include <sys/resource.h>

#include "kernel_events.h"

static struct rte_hotplug_monitor_statistics statistics(void)
{
	struct rte_hotplug_monitor_statistics now = { .size = sizeof(now) };

	CHECK_INT(rte_hotplug_monitor_statistics_get(&now), 0);
	return now;
}

static void additions_and_removals_are_told(void)
{
	count_from_now(0);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("add", 1);
	wait_told(1);
	announce("remove", 1);
	announce("change", 1);
	announce("add", 1);
	wait_told(2);
	CHECK_INT(seen.added, 2);
	CHECK_INT(seen.removed, 1);
	CHECK_INT(seen.on_interrupt_thread, suite_hosted());
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	count_no_more();
}

static void it_is_counted(void)
{
	struct rte_hotplug_monitor_statistics before;

	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	count_from_now(0);
	announce("add", 1);
	wait_told(1);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	before = statistics();
	announce("add", 1);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("remove", 1);
	wait_told(1);
	CHECK_INT(seen.added, 1);
	CHECK_INT(seen.removed, 1);
	CHECK(statistics().received > before.received);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	count_no_more();
}

static void many_events(int events, long pause)
{
	struct rte_hotplug_monitor_statistics before = statistics(), after;

	count_from_now(pause);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("add", events / 2);
	announce("remove", events / 2);
	wait_told(events);
	CHECK_INT(seen.added, events / 2);
	CHECK_INT(seen.removed, events / 2);
	/* It lives. */
	announce("add", 1);
	wait_told(1);
	after = statistics();
	CHECK(after.received - before.received >= (unsigned int)events + 1);
	CHECK(after.delivered - before.delivered >= (unsigned int)events + 1);
	CHECK_INT(after.overruns, before.overruns);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	count_no_more();
}

static void a_burst_and_a_slow_callback(void)
{
	many_events(suite_scaled(5000), 1000000);
}

static void a_long_burst(void)
{
	many_events(suite_scaled(100000), 10000);
}

static struct {
	_Atomic int calls;
	int actions[16];
	char driver[64], path[256], subsystem[16];
	uint64_t seqnum[16];
} raw;

static void remember(const struct rte_hotplug_uevent *event, void *arg)
{
	const char *uuid = rte_hotplug_uevent_get(event, "SYNTH_UUID");
	const char *name = rte_hotplug_uevent_get(event, "PCI_SLOT_NAME");
	int at = raw.calls;

	(void)arg;
	/* Others may be told of on this machine too. */
	if (uuid == NULL || strcmp(uuid, UUID) != 0 || name == NULL || at >= 16)
		return;
	EXPECT(strcmp(name, device) == 0);
	raw.actions[at] = rte_hotplug_uevent_action(event);
	raw.seqnum[at] = rte_hotplug_uevent_seqnum(event);
	snprintf(raw.path, sizeof(raw.path), "%s", rte_hotplug_uevent_get(event, "DEVPATH"));
	snprintf(raw.subsystem, sizeof(raw.subsystem), "%s",
		 rte_hotplug_uevent_get(event, "SUBSYSTEM"));
	EXPECT(rte_hotplug_uevent_get(event, "NO_SUCH_KEY") == NULL);
	EXPECT(rte_hotplug_uevent_get(event, NULL) == NULL);
	EXPECT(rte_hotplug_uevent_get(NULL, "DEVPATH") == NULL);
	raw.calls++;
	sem_post(&told);
}

static void every_action_is_told_in_full(void)
{
	static const char *const names[] = { "add",    "remove",  "change", "move",
					     "online", "offline", "bind",   "unbind" };
	int result;

	memset(&raw, 0, sizeof(raw));
	prepare();
	CHECK_INT(rte_hotplug_uevent_callback_register("pci", remember, NULL), 0);
	CHECK_INT(rte_hotplug_uevent_callback_register("pci", remember, NULL), -EEXIST);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	for (int i = 0; i < 8; i++)
		announce(names[i], 1);
	wait_told(8);
	for (int i = 0; i < 8; i++) {
		CHECK_INT(raw.actions[i], RTE_HOTPLUG_UEVENT_ADD + i);
		CHECK(i == 0 || raw.seqnum[i] > raw.seqnum[i - 1]);
	}
	CHECK(strstr(raw.path, device) != NULL);
	CHECK_STR(raw.subsystem, "pci");
	while ((result = rte_hotplug_uevent_callback_unregister("pci", remember, NULL)) == -EAGAIN)
		sched_yield();
	CHECK_INT(result, 1);
	CHECK_INT(rte_hotplug_uevent_callback_unregister("pci", remember, NULL), -ENOENT);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
}

static void full_events_of_other_subsystems_are_left_out(void)
{
	memset(&raw, 0, sizeof(raw));
	count_from_now(0);
	CHECK_INT(rte_hotplug_uevent_callback_register("vfio", remember, NULL), 0);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("add", 1);
	wait_told(1);
	CHECK_INT(raw.calls, 0);
	CHECK_INT(rte_hotplug_uevent_callback_unregister(NULL, remember, (void *)-1), 1);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	count_no_more();
}

static void stop_inside(const char *name, enum rte_dev_event_type type, void *arg)
{
	int *result = arg;

	(void)name, (void)type;
	*result = rte_dev_event_monitor_stop();
	sem_post(&told);
}

static void a_callback_may_stop_the_monitor(void)
{
	int result = -1;

	prepare();
	CHECK_INT(rte_dev_event_callback_register(device, stop_inside, &result), 0);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("add", 1);
	wait_told(1);
	CHECK_INT(result, 0);
	while ((result = rte_dev_event_callback_unregister(device, stop_inside, (void *)-1)) ==
	       -EAGAIN)
		sched_yield();
	CHECK_INT(result, 1);
	additions_and_removals_are_told();
}

static void restart_once(const char *name, enum rte_dev_event_type type, void *arg)
{
	int *restarts = arg;

	(void)name, (void)type;
	if (++*restarts == 1) {
		EXPECT(rte_dev_event_monitor_stop() == 0);
		EXPECT(rte_dev_event_monitor_start() == 0);
	}
	sem_post(&told);
}

/* What was announced before may be told or not, what is announced after it once. */
static void a_callback_may_restart_the_monitor(void)
{
	int restarts = 0, result;

	prepare();
	CHECK_INT(rte_dev_event_callback_register(device, restart_once, &restarts), 0);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("add", 1);
	wait_told(1);
	while ((result = rte_dev_event_callback_unregister(device, restart_once, &restarts)) ==
	       -EAGAIN)
		sched_yield();
	CHECK_INT(result, 1);
	count_from_now(0);
	announce("add", 10);
	announce("remove", 1);
	while (seen.removed == 0)
		wait_told(1);
	CHECK_INT(seen.added, 10);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	count_no_more();
}

static void added_after_a_driver_is_bound(void)
{
	CHECK_INT(rte_hotplug_event_policy_set(2), -EINVAL);
	CHECK_INT(rte_hotplug_event_policy_get(), 0);
	CHECK_INT(rte_hotplug_event_policy_set(RTE_HOTPLUG_EVENT_ADD_AFTER_BIND), 0);
	CHECK_INT(rte_hotplug_event_policy_get(), RTE_HOTPLUG_EVENT_ADD_AFTER_BIND);
	count_from_now(0);
	CHECK_INT(rte_dev_event_monitor_start(), 0);
	announce("add", 1);
	/* No driver for user space has it. */
	announce("bind", 1);
	announce("remove", 1);
	wait_told(1);
	CHECK_INT(seen.added, 0);
	CHECK_INT(seen.removed, 1);
	CHECK_INT(rte_dev_event_monitor_stop(), 0);
	CHECK_INT(rte_hotplug_event_policy_set(0), 0);
	count_no_more();
}

static void bad_arguments(void)
{
	struct rte_hotplug_monitor_statistics wrong = { .size = 1 };

	CHECK_INT(rte_hotplug_uevent_callback_register(NULL, NULL, NULL), -EINVAL);
	CHECK_INT(rte_hotplug_uevent_callback_unregister(NULL, NULL, NULL), -EINVAL);
	CHECK_INT(rte_hotplug_uevent_action(NULL), -EINVAL);
	CHECK_INT(rte_hotplug_uevent_seqnum(NULL), 0);
	CHECK_INT(rte_hotplug_monitor_statistics_get(NULL), -EINVAL);
	CHECK_INT(rte_hotplug_monitor_statistics_get(&wrong), -EINVAL);
}

static void no_descriptor_is_left_for_it(void)
{
	struct rlimit usual, none;
	int result;

	CHECK_INT(getrlimit(RLIMIT_NOFILE, &usual), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = usual.rlim_max };
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
	result = rte_dev_event_monitor_start();
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &usual), 0);
	CHECK_INT(result, -EMFILE);
	/* It does not run, and can. */
	additions_and_removals_are_told();
}

static const struct test_case cases[] = {
	{ "additions and removals are told", additions_and_removals_are_told },
	{ "it is counted", it_is_counted },
	{ "a burst and a slow callback (U1)", a_burst_and_a_slow_callback },
	{ "a long burst (U1)", a_long_burst },
	{ "every action is told in full", every_action_is_told_in_full },
	{ "other subsystems are left out", full_events_of_other_subsystems_are_left_out },
	{ "a callback may stop the monitor", a_callback_may_stop_the_monitor },
	{ "a callback may restart the monitor", a_callback_may_restart_the_monitor },
	{ "added after a driver is bound (U4)", added_after_a_driver_is_bound },
	{ "bad arguments", bad_arguments },
	{ "no descriptor is left for it (U9)", no_descriptor_is_left_for_it },
};

int main(void)
{
#ifdef SUITE_HOSTED
	/* Stock crashes. */
	if (rte_dev_event_monitor_start() != -EAGAIN) {
		printf("Bail out! started before rte_eal_init\n");
		return EXIT_FAILURE;
	}
#endif
	take_device();
	suite_start();
	return suite_run(cases, sizeof(cases) / sizeof(cases[0]));
}
