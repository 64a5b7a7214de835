/* SPDX-License-Identifier: BSD-3-Clause */
/* Several operations at once. */
#include "test_group.h"

static void two_threads_at_once(void)
{
	start_group(2);
	for (int i = 0; i < 10; i++) {
		begin(caller, true, "tdrv1");
		begin(caller, true, "tdrv2");
		finishes(caller, 0);
		finishes(caller, 0);
		check_agree();
		begin(caller, false, "tdrv1");
		begin(caller, false, "tdrv2");
		finishes(caller, 0);
		finishes(caller, 0);
		check_agree();
	}
}

static bool not_there(int code)
{
	return code == -ENODEV || code == -ENOENT || code == -EINVAL;
}

/* Of two detaches of one device, one does it. */
static void check_one_did_it(int one, int other)
{
	if (!((one == 0 && not_there(other)) || (other == 0 && not_there(one))))
		GROUP_FAIL("two detaches returned %d and %d", one, other);
}

static void same_device_from_two_threads(void)
{
	start_group(2);
	for (int i = 0; i < 10; i++) {
		begin(caller, true, "tdrv0");
		begin(caller, true, "tdrv0");
		finishes(caller, 0);
		finishes(caller, 0);
		check_agree();
		begin(caller, false, "tdrv0");
		begin(caller, false, "tdrv0");
		check_one_did_it(finished(caller), finished(caller));
		check_agree();
	}
}

static void same_device_from_two_processes(void)
{
	start_group(2);
	for (int i = 0; i < 10; i++) {
		begin(caller, true, "tdrv0");
		begin(secondary[1], true, "tdrv0");
		finishes(caller, 0);
		finishes(secondary[1], 0);
		check_agree();
		begin(caller, false, "tdrv0");
		begin(secondary[1], false, "tdrv0");
		check_one_did_it(finished(caller), finished(secondary[1]));
		check_agree();
	}
}

static void two_processes_at_once(void)
{
	start_group(3);
	for (int i = 0; i < 10; i++) {
		for (int attach_it = 1; attach_it >= 0; attach_it--) {
			begin(caller, attach_it, "tdrv1");
			begin(secondary[1], attach_it, "tdrv2");
			begin(secondary[2], attach_it, "tdrv3");
			finishes(caller, 0);
			finishes(secondary[1], 0);
			finishes(secondary[2], 0);
			check_agree();
		}
	}
}

/* The result of the detach says which of the two was first. */
static void attach_and_detach_at_once(void)
{
	start_group(2);
	for (int i = 0; i < 20; i++) {
		int detached;

		begin(caller, true, "tdrv0");
		begin(secondary[1], false, "tdrv0");
		finishes(caller, 0);
		now_attached("tdrv0");
		detached = finished(secondary[1]);
		if (detached != 0 && !not_there(detached))
			GROUP_FAIL("the detach returned %d", detached);
		check_agree();
		if (detached != 0)
			detach(caller, "tdrv0", 0);
	}
}

/*
 * One device is slow in one process; the other has to pass. DPDK's vdev bus holds a lock of its own
 * during a remove: there, the attach of the other may wait, but both have to end.
 */
static void a_slow_device_is_in_nobodys_way(void)
{
	struct peer *slow[] = { NULL, NULL };

	prepare(2);
	slow[0] = secondary[1];
	slow[1] = primary;
	for (int i = 0; i < 2; i++) {
		struct peer *other = slow[1 - i];

		close_gate(slow[i]);
		begin(caller, attaching, "tdrv0");
		wait_at_gate(slow[i]);
		begin(other, true, "tdrv1");
		if (group.hosted && !attaching) {
			open_gate(slow[i]);
			finishes(caller, 0);
			finishes(other, 0);
		} else {
			finishes(other, 0);
			detach(secondary[0], "tdrv1", 0);
			attach(other, "tdrv1", 0);
			open_gate(slow[i]);
			finishes(caller, 0);
		}
		check_agree();
		behave_well(slow[i]);
		detach(other, "tdrv1", 0);
		CHECK_INT(operate(caller, !attaching, "tdrv0"), 0);
		check_agree();
	}
}

/*
 * Failsafe's: a thread that holds what the remove wants attaches another device. The gate is that
 * lock; in the hosted mode, where the bus has one of its own, the remove is slow.
 */
static void lock_inversion(void)
{
	struct peer *removers[] = { NULL, NULL };

	prepare(2);
	removers[0] = primary;
	removers[1] = secondary[1];
	for (int i = 0; i < 2; i++) {
		behave(removers[i], group.hosted ? "only=tdrv0 remove_ms=300" : "only=tdrv0 gate=2");
		begin(primary, false, "tdrv0");
		if (!group.hosted)
			wait_at_gate(removers[i]);
		begin(secondary[0], true, "tdrv1");
		begin(removers[i], true, "tdrv2");
		finishes(secondary[0], 0);
		if (removers[i] != primary || !group.hosted)
			finishes(removers[i], 0);
		if (!group.hosted)
			open_gate(removers[i]);
		finishes(primary, 0);
		if (removers[i] == primary && group.hosted)
			finishes(primary, 0);
		check_agree();
		behave_well(removers[i]);
		detach(secondary[1], "tdrv1", 0);
		detach(secondary[0], "tdrv2", 0);
		attach(primary, "tdrv0", 0);
	}
}

const struct scenario at_once[] = {
	{ "two threads at once", two_threads_at_once, BOTH, CALLERS },
	{ "two processes at once", two_processes_at_once, BOTH, CALLERS },
	{ "the same device from two threads", same_device_from_two_threads, BOTH, CALLERS },
	{ "the same device from two processes", same_device_from_two_processes, BOTH, CALLERS },
	{ "attach and detach at once", attach_and_detach_at_once, BOTH, CALLERS },
	{ "a slow device is in nobody's way", a_slow_device_is_in_nobodys_way, BOTH, ALL },
	{ "lock inversion", lock_inversion, BOTH, DETACH_ONLY },
	{ 0 },
};
