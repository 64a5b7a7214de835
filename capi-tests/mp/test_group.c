/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One device, all processes, or none: what callers may rely on in a group of processes, with real
 * ones (peer.c), which die, stop, fail and are slow as told.
 *
 * usage: test_group embedded PEER
 *        test_group hosted PEER LIBRARY
 */
#include "group.h"

#define FAILS (-EIO)
#define SILENT (-ENOMSG)

/* The variant of the present case. */
static bool attaching, by_secondary;
static struct peer *primary, *secondary[4], *caller;

/* Starts a primary and secondaries, all with the library. */
static void start_group(unsigned int secondaries)
{
	primary = start_peer(PRIMARY, NULL);
	for (unsigned int i = 0; i < secondaries; i++)
		secondary[i] = start_peer(UNREADY, NULL);
	for (unsigned int i = 0; i < secondaries; i++)
		wait_ready(secondary[i]);
	caller = by_secondary ? secondary[0] : primary;
}

/* The same, with tdrv0 attached where the case is about its detach. */
static void prepare(unsigned int secondaries)
{
	start_group(secondaries);
	if (!attaching)
		attach(primary, "tdrv0", 0);
	check_agree();
}

/* The operation of the variant, on tdrv0. */
static int try_it(void)
{
	return operate(caller, attaching, "tdrv0");
}

#define EXPECT_IT(code) ((void)AT, do_expect_code("the call", try_it(), code))

/* What drivers call the operation, and what undoes it. */
static const char *step(void)
{
	return attaching ? "probe" : "remove";
}

static const char *undo(void)
{
	return attaching ? "remove" : "probe";
}

static void fail_step(struct peer *peer)
{
	behave(peer, "only=tdrv0 %s=%d", step(), FAILS);
}

static void behave_well(struct peer *peer)
{
	behave(peer, " ");
}

/* The driver of this process waits in the operation for open_gate(). */
static void close_gate(struct peer *peer)
{
	behave(peer, "only=tdrv0 gate=%d", attaching ? 1 : 2);
}

static void wait_at_gate(struct peer *peer)
{
	ask(peer, "reached");
}

static void open_gate(struct peer *peer)
{
	ask(peer, "open");
}

static void short_times(const char *name, const char *ms)
{
	CHECK(group_setenv(name, ms));
}

static void do_wait_all_members(unsigned int secondaries)
{
	for (unsigned int i = 0; i < secondaries; i++)
		do_wait_state(primary, secondary[i], 1);
}

#define wait_all_members(secondaries) ((void)AT, do_wait_all_members(secondaries))

static void all_have_it_or_none(void)
{
	prepare(3);
	EXPECT_IT(0);
	check_agree();
	/* Once more, the other way round, from somebody else. */
	CHECK_INT(operate(secondary[2], !attaching, "tdrv0"), 0);
	check_agree();
}

static void fails_in_a_secondary(void)
{
	prepare(3);
	/* The caller itself is one of them. */
	for (int i = 0; i < 3; i++) {
		fail_step(secondary[i]);
		EXPECT_IT(FAILS);
		check_agree();
		behave_well(secondary[i]);
	}
	EXPECT_IT(0);
	check_agree();
}

static void fails_in_all_secondaries(void)
{
	prepare(3);
	for (int i = 0; i < 3; i++)
		fail_step(secondary[i]);
	EXPECT_IT(FAILS);
	check_agree();
	for (int i = 0; i < 3; i++)
		behave_well(secondary[i]);
	EXPECT_IT(0);
	check_agree();
}

static void fails_in_the_primary(void)
{
	prepare(2);
	fail_step(primary);
	EXPECT_IT(FAILS);
	check_agree();
	behave_well(primary);
	EXPECT_IT(0);
	check_agree();
}

/* A failed rollback leaves the device in a state of its own in secondary[1]. */
static void put_out_of_step(void)
{
	prepare(3);
	fail_step(secondary[2]);
	behave(secondary[1], "only=tdrv0 %s=%d", undo(), FAILS);
	EXPECT_IT(FAILS);
	check_lists(primary, attaching ? "" : "tdrv0");
	check_lists(secondary[0], attaching ? "" : "tdrv0");
	check_lists(secondary[1], attaching ? "tdrv0" : "");
	check_lists(secondary[2], attaching ? "" : "tdrv0");
	behave_well(secondary[1]);
}

static void undoing_fails_in_a_secondary(void)
{
	put_out_of_step();
	wait_state(primary, secondary[1], 4);
	wait_state(primary, secondary[0], 1);
	CHECK_INT(statistic(primary, "out_of_step"), 1);
	/* The next operation is not affected, nor is the state by it. */
	attach(caller, "tdrv1", 0);
	check_lists(secondary[1], attaching ? "tdrv0 tdrv1" : "tdrv1");
	check_lists(secondary[2], attaching ? "tdrv1" : "tdrv0 tdrv1");
	detach(caller, "tdrv1", 0);
	wait_state(primary, secondary[1], 4);
}

static void some_are_there_already(void)
{
	put_out_of_step();
	/* What it had before is not this operation's to undo. */
	EXPECT_IT(FAILS);
	check_lists(secondary[1], attaching ? "tdrv0" : "");
	check_lists(primary, attaching ? "" : "tdrv0");
	behave_well(secondary[2]);
	EXPECT_IT(0);
	check_agree();
	wait_all_members(3);
}

static void undoing_fails_in_the_primary(void)
{
	prepare(2);
	behave(primary, "only=tdrv0 remove=%d", FAILS);
	fail_step(secondary[1]);
	EXPECT_IT(FAILS);
	check_lists(primary, "tdrv0");
	check_lists(secondary[0], "");
	check_lists(secondary[1], "");
	CHECK_INT(statistic(primary, "out_of_step"), 1);
	behave_well(primary);
	behave_well(secondary[1]);
	attach(caller, "tdrv1", 0);
	EXPECT_IT(0);
	check_agree();
}

/* Attached in all: fine. Attached in none: there is nothing to detach. */
static void all_are_there_already(void)
{
	struct counts before;

	start_group(2);
	if (attaching)
		attach(primary, "tdrv0", 0);
	before = counts_of(secondary[1]);
	if (attaching) {
		EXPECT_IT(0);
	} else {
		CHECK_INT(atoi(ask(caller, "detach tdrv0")), -ENODEV);
		/* The same code as DPDK's own function has. */
		CHECK_INT(atoi(ask(caller, "unplug tdrv0")), -EINVAL);
	}
	check_agree();
	CHECK_INT(counts_of(secondary[1]).probes, before.probes);
	CHECK_INT(counts_of(secondary[1]).removes, before.removes);
}

static void killed_before(void)
{
	prepare(3);
	kill_peer(secondary[1]);
	EXPECT_IT(0);
	check_agree();
}

static void killed_during(void)
{
	prepare(3);
	behave(secondary[1], "kill_%s=1", step());
	behave(secondary[2], "kill_%s=2", step());
	EXPECT_IT(0);
	wait_killed(secondary[1]);
	wait_killed(secondary[2]);
	check_agree();
	CHECK_INT(operate(caller, !attaching, "tdrv0"), 0);
	check_agree();
}

/* Its part is done; others still work, and one may fail. */
static void killed_after_its_part(void)
{
	for (int fail = 0; fail < 2; fail++) {
		struct counts before;

		prepare(3);
		before = counts_of(secondary[1]);
		behave(secondary[2], "only=tdrv0 gate=%d %s=%d", attaching ? 1 : 2, step(),
		       fail ? FAILS : 0);
		begin(caller, attaching, "tdrv0");
		wait_at_gate(secondary[2]);
		for (struct counts now = before; now.probes + now.removes ==
						 before.probes + before.removes;
		     now = counts_of(secondary[1]))
			group_nap();
		kill_peer(secondary[1]);
		open_gate(secondary[2]);
		finishes(caller, fail ? FAILS : 0);
		check_agree();
		if (fail == 0) {
			group_close();
			group_open();
		}
	}
}

/* Nobody is told, but all agree. */
static void caller_killed(void)
{
	prepare(3);
	close_gate(secondary[1]);
	begin(secondary[0], attaching, "tdrv0");
	wait_at_gate(secondary[1]);
	kill_peer(secondary[0]);
	open_gate(secondary[1]);
	told(attaching, "tdrv0", 0);
	wait_lists(primary, attaching ? "tdrv0" : "");
	wait_lists(secondary[1], attaching ? "tdrv0" : "");
	check_agree();
	CHECK_INT(operate(secondary[2], !attaching, "tdrv0"), 0);
	check_agree();
}

static void stopped_before(void)
{
	short_times("RTE_HOTPLUG_LIVENESS_MS", "300");
	prepare(3);
	stop_peer(secondary[1]);
	EXPECT_IT(SILENT);
	/* Later ones do not wait for it again. */
	for (int i = 0; i < 5; i++)
		EXPECT_IT(SILENT);
	CHECK_INT(operate(secondary[2], true, "tdrv1"), SILENT);
	CHECK_INT(statistic(primary, "stopped"), 1);
	wait_state(primary, secondary[1], 3);
	continue_peer(secondary[1]);
	wait_state(primary, secondary[1], 1);
	check_agree();
	EXPECT_IT(0);
	check_agree();
}

static void stopped_during(void)
{
	short_times("RTE_HOTPLUG_LIVENESS_MS", "300");
	prepare(3);
	close_gate(secondary[1]);
	begin(caller, attaching, "tdrv0");
	wait_at_gate(secondary[1]);
	stop_peer(secondary[1]);
	finishes(caller, SILENT);
	check_lists(primary, attaching ? "" : "tdrv0");
	check_lists(secondary[0], attaching ? "" : "tdrv0");
	check_lists(secondary[2], attaching ? "" : "tdrv0");
	continue_peer(secondary[1]);
	open_gate(secondary[1]);
	wait_state(primary, secondary[1], 1);
	check_agree();
	EXPECT_IT(0);
	check_agree();
}

static void stopped_then_killed(void)
{
	short_times("RTE_HOTPLUG_LIVENESS_MS", "300");
	prepare(3);
	stop_peer(secondary[1]);
	EXPECT_IT(SILENT);
	kill_peer(secondary[1]);
	wait_state(primary, secondary[1], 0);
	EXPECT_IT(0);
	check_agree();
}

/* The caller stops inside of its own part, and learns the truth when it goes on. */
static void caller_stopped(void)
{
	short_times("RTE_HOTPLUG_LIVENESS_MS", "300");
	prepare(2);
	close_gate(secondary[0]);
	begin(secondary[0], attaching, "tdrv0");
	wait_at_gate(secondary[0]);
	stop_peer(secondary[0]);
	wait_state(primary, secondary[0], 3);
	check_lists(primary, attaching ? "" : "tdrv0");
	check_lists(secondary[1], attaching ? "" : "tdrv0");
	continue_peer(secondary[0]);
	open_gate(secondary[0]);
	finishes(secondary[0], SILENT);
	wait_state(primary, secondary[0], 1);
	check_agree();
	EXPECT_IT(0);
	check_agree();
}

static void primary_stopped(void)
{
	short_times("RTE_HOTPLUG_LIVENESS_MS", "300");
	prepare(2);
	stop_peer(primary);
	for (int i = 0; i < 3; i++)
		CHECK_INT(operate(secondary[0], attaching, "tdrv0"), SILENT);
	check_lists(secondary[0], attaching ? "" : "tdrv0");
	continue_peer(primary);
	wait_state(secondary[0], primary, 1);
	check_agree();
	EXPECT_IT(0);
	check_agree();
}

/* The primary stops while it coordinates: on waking up it must not take all others for dead. */
static void primary_stopped_during(void)
{
	short_times("RTE_HOTPLUG_LIVENESS_MS", "300");
	prepare(2);
	close_gate(secondary[1]);
	begin(primary, attaching, "tdrv0");
	wait_at_gate(secondary[1]);
	stop_peer(primary);
	CHECK_INT(operate(secondary[0], true, "tdrv1"), SILENT);
	continue_peer(primary);
	open_gate(secondary[1]);
	finishes(primary, 0);
	wait_state(secondary[0], primary, 1);
	check_agree();
}

/* Slow is not stopped. */
static void slow_driver(void)
{
	short_times("RTE_HOTPLUG_LIVENESS_MS", "300");
	prepare(2);
	behave(secondary[1], "only=tdrv0 %s_ms=1500", step());
	EXPECT_IT(0);
	check_agree();
	behave_well(secondary[1]);
	CHECK_INT(operate(caller, !attaching, "tdrv0"), 0);
	behave(primary, "only=tdrv0 %s_ms=1500", step());
	EXPECT_IT(0);
	check_agree();
	CHECK_INT(statistic(primary, "stopped"), 0);
}

static void too_slow(void)
{
	short_times("RTE_HOTPLUG_OPERATION_MS", "500");
	prepare(3);
	close_gate(secondary[1]);
	begin(caller, attaching, "tdrv0");
	wait_at_gate(secondary[1]);
	finishes(caller, SILENT);
	check_lists(primary, attaching ? "" : "tdrv0");
	check_lists(secondary[2], attaching ? "" : "tdrv0");
	wait_state(primary, secondary[1], 4);
	open_gate(secondary[1]);
	wait_state(primary, secondary[1], 1);
	check_agree();
	EXPECT_IT(0);
	check_agree();
}

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

/* The probe (or remove) of tdrv0 attaches (or detaches) tdrv1. */
static void nest(struct peer *peer)
{
	behave(peer, "only=tdrv0 nest_%s=tdrv1", step());
}

static void start_nested(void)
{
	start_group(3);
	if (!attaching) {
		attach(primary, "tdrv1", 0);
		attach(primary, "tdrv0", 0);
	}
}

static void run_nested(void)
{
	EXPECT_IT(0);
	if (attaching)
		now_attached("tdrv1");
	else
		now_detached("tdrv1");
	check_agree();
}

static void nested_in_the_primary(void)
{
	start_nested();
	nest(primary);
	run_nested();
	CHECK_INT(counts_of(primary).nested, 0);
}

static void nested_in_a_secondary(void)
{
	start_nested();
	nest(secondary[1]);
	run_nested();
	CHECK_INT(counts_of(secondary[1]).nested, 0);
}

static void nested_in_the_caller(void)
{
	start_nested();
	nest(secondary[0]);
	run_nested();
	CHECK_INT(counts_of(secondary[0]).nested, 0);
}

static void nested_everywhere(void)
{
	start_nested();
	nest(primary);
	for (int i = 0; i < 3; i++)
		nest(secondary[i]);
	run_nested();
	if (attaching) {
		CHECK_INT(counts_of(primary).nested, 0);
		for (int i = 0; i < 3; i++)
			CHECK_INT(counts_of(secondary[i]).nested, 0);
	}
}

/* The inner operation succeeded, the outer one fails: only that is undone. */
static void nested_and_outer_fails(void)
{
	start_nested();
	nest(primary);
	fail_step(secondary[2]);
	EXPECT_IT(FAILS);
	behave_well(primary);
	/* A detach asks the others first: the primary's driver has not run. */
	if (attaching)
		now_attached("tdrv1");
	check_agree();
}

static void from_a_plain_thread(void)
{
	prepare(2);
	begin(caller, attaching, "tdrv0");
	finishes(caller, 0);
	check_agree();
}

static void from_an_alarm(void)
{
	start_group(2);
	CHECK_STR(ask(caller, "alarm-attach tdrv0"), "0");
	finishes(caller, 0);
	check_agree();
}

static void from_a_callback(void)
{
	start_group(2);
	CHECK_STR(ask(caller, "callback-attach net_null1"), "0");
	attach(primary, "net_null0", 0);
	now_attached("net_null1");
	check_agree();
	CHECK_INT(counts_of(caller).nested, 0);
	detach(secondary[1], "net_null0", 0);
	detach(secondary[1], "net_null1", 0);
	CHECK_STR(ask(caller, "callback-attach net_null3"), "0");
	attach(secondary[0], "net_null2", 0);
	now_attached("net_null3");
	check_agree();
}

static void private_device_stays_private(void)
{
	struct peer *owner;

	start_group(1);
	owner = start_peer(0, "--vdev tdrv9");
	check_agree_but(owner, "tdrv9");
	CHECK_INT(atoi(ask(primary, "unplug tdrv9")), -EINVAL);
	CHECK_INT(atoi(ask(secondary[0], "unplug tdrv9")), -EINVAL);
	attach(caller, "tdrv0", 0);
	check_agree_but(owner, "tdrv9");
	/* The others attach one of the same name, and detach theirs again. */
	attach(caller, "tdrv9", 0);
	check_agree();
	detach(caller, "tdrv9", 0);
	check_agree_but(owner, "tdrv9");
	/* Its owner may. */
	CHECK_INT(atoi(ask(owner, "detach tdrv9")), 0);
	check_agree();
	detach(owner, "tdrv0", 0);
	check_agree();
}

static void late_joiner(void)
{
	struct peer *late;

	primary = start_peer(PRIMARY, "--vdev tdrv5 --vdev tdrv6");
	now_attached("tdrv5");
	now_attached("tdrv6");
	secondary[0] = start_peer(0, NULL);
	caller = by_secondary ? secondary[0] : primary;
	check_agree();
	attach(caller, "tdrv0", 0);
	attach(caller, "tdrv1", 0);
	detach(caller, "tdrv1", 0);
	detach(caller, "tdrv6", 0);
	late = start_peer(0, NULL);
	check_agree();
	/* It names a removed one itself: that is its own. */
	late = start_peer(0, "--vdev tdrv1");
	check_agree_but(late, "tdrv1");
}

/* No gap and no double: one joins while an operation is under way. */
static void joins_during_an_operation(void)
{
	struct peer *late;

	prepare(1);
	close_gate(secondary[0]);
	begin(caller, attaching, "tdrv0");
	wait_at_gate(secondary[0]);
	late = start_peer(0, NULL);
	open_gate(secondary[0]);
	finishes(caller, 0);
	check_agree();
	EXPECT(counts_of(late).probes == 1);
	/* The same when it fails. */
	CHECK_INT(operate(caller, !attaching, "tdrv0"), 0);
	behave(secondary[0], "only=tdrv0 gate=%d %s=%d", attaching ? 1 : 2, step(), FAILS);
	begin(caller, attaching, "tdrv0");
	wait_at_gate(secondary[0]);
	late = start_peer(0, NULL);
	open_gate(secondary[0]);
	finishes(caller, FAILS);
	check_agree();
}

static void coming_and_going_in_a_storm(void)
{
	char cycles[256] = "cycles tdrv0 150 a=";

	start_group(2);
	/* More than a process without the library could take: none of those that start is one. */
	memset(cycles + strlen(cycles), 'x', 200);
	tell(primary, cycles);
	tell(secondary[0], "cycles tdrv1 150");
	tell(secondary[1], "cycles tdrv2 150");
	for (int i = 0; i < 12; i++) {
		struct peer *guest = start_peer(0, NULL);

		/* Killed anywhere, DPDK itself may be left with a lock held. */
		if (i % 2 == 0 && !group.hosted)
			kill_peer(guest);
		else
			quit_peer(guest);
	}
	CHECK_INT(atoi(answer_of(primary)), 0);
	CHECK_INT(atoi(answer_of(secondary[0])), 0);
	CHECK_INT(atoi(answer_of(secondary[1])), 0);
	check_agree();
	attach(caller, "tdrv3", 0);
	check_agree();
}

static void primary_killed_during(void)
{
	prepare(3);
	close_gate(secondary[1]);
	begin(secondary[0], attaching, "tdrv0");
	wait_at_gate(secondary[1]);
	wait_lists(secondary[0], attaching ? "tdrv0" : "");
	/* Another one waits for its turn. */
	begin(secondary[2], true, "tdrv0");
	kill_peer(primary);
	/* While the driver still works: at once. */
	finishes(secondary[0], SILENT);
	finishes(secondary[2], SILENT);
	open_gate(secondary[1]);
	/* Devices stay as they are. */
	wait_lists(secondary[1], attaching ? "tdrv0" : "");
	CHECK_INT(atoi(ask(secondary[0], "attach tdrv1")), SILENT);
	check_lists(secondary[0], attaching ? "tdrv0" : "");
}

static void primary_restarts(void)
{
	start_group(2);
	attach(secondary[0], "tdrv0", 0);
	fork_peer(primary);
	for (int i = 0; i < 2; i++) {
		if (i == 0)
			kill_peer(primary);
		else
			quit_peer(primary);
		check_agree();
		primary = start_peer(PRIMARY, NULL);
		wait_all_members(2);
		wait_state(secondary[0], primary, 1);
		wait_state(secondary[1], primary, 1);
		check_lists(secondary[0], "tdrv0");
		check_lists(secondary[1], "tdrv0");
		attach(secondary[1], "tdrv0", 0);
		attach(primary, "tdrv1", 0);
		check_agree();
		detach(secondary[0], "tdrv1", 0);
		check_agree();
	}
}

/* A child has copies of its parent's descriptors, which must not look like a living parent. */
static void fork_hides_no_death(void)
{
	prepare(3);
	fork_peer(secondary[1]);
	behave(secondary[1], "kill_%s=1", step());
	EXPECT_IT(0);
	wait_killed(secondary[1]);
	check_agree();
	fork_peer(primary);
	kill_peer(primary);
	CHECK_INT(atoi(ask(secondary[0], "attach tdrv1")), SILENT);
	CHECK_INT(atoi(ask(secondary[2], "attach tdrv1")), SILENT);
}

static void cleanup_in_any_order(void)
{
	prepare(3);
	EXPECT_IT(0);
	quit_peer(secondary[1]);
	check_agree();
	CHECK_INT(operate(caller, !attaching, "tdrv0"), 0);
	check_agree();
	/* The primary first: the others are alone then. */
	quit_peer(primary);
	CHECK_INT(atoi(ask(secondary[0], "attach tdrv1")), SILENT);
	check_agree();
	quit_peer(secondary[2]);
	quit_peer(secondary[0]);
}

/* "tdrv0,key=xxxx" of so many bytes. */
static const char *devargs_of(size_t length)
{
	static char text[4096 + 1];

	CHECK(length > 10 && length < sizeof(text));
	memset(text, 'x', length);
	memcpy(text, "tdrv0,key=", 10);
	/* The end tells whether all have arrived. */
	text[length - 1] = 'z';
	text[length] = '\0';
	return text;
}

/* DPDK gives the vdevs of secondaries no arguments, and drivers rely on that. */
static void check_arguments(const char *arguments)
{
	for (size_t i = 0; i < group.count; i++) {
		bool empty = group.hosted && !group.peers[i].primary;

		if (!group.peers[i].ended)
			CHECK_STR(ask(&group.peers[i], "arguments tdrv0"), empty ? "" : arguments);
	}
}

static void devargs_of_any_length(void)
{
	static const size_t lengths[] = { 127, 128, 4096 };

	start_group(2);
	/* As DPDK's own function: its auxiliary bus takes any name, the embedded runtime has none. */
	CHECK_INT(atoi(ask(caller, "attach ")), group.hosted ? -ENODEV : -EFAULT);
	check_agree();
	attach(caller, "tdrv0", 0);
	check_arguments("");
	detach(caller, "tdrv0", 0);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const char *devargs = devargs_of(lengths[i]);

		CHECK_INT(operate(caller, true, devargs), 0);
		check_agree();
		check_arguments(devargs + strlen("tdrv0,"));
		/* A detach that is undone brings them all back. */
		behave(secondary[1], "remove=%d", FAILS);
		detach(caller, "tdrv0", FAILS);
		check_agree();
		check_arguments(devargs + strlen("tdrv0,"));
		behave_well(secondary[1]);
		detach(caller, "tdrv0", 0);
	}
	check_agree();
	/* What a dead process left in the runtime directory is nobody who takes less. */
	kill_peer(secondary[1]);
	CHECK_INT(operate(caller, true, devargs_of(128)), 0);
	check_agree();
}

enum { EMBEDDED = 1, HOSTED = 2, BOTH = EMBEDDED | HOSTED };
/* Which variants there are: of the operation, and of the process that asks for it. */
enum { ONCE = 0, OPERATIONS = 1, CALLERS = 2, ATTACH_ONLY = 4, DETACH_ONLY = 8,
       SECONDARY_ONLY = 16, ALL = OPERATIONS | CALLERS };

static const struct scenario {
	const char *name;
	void (*run)(void);
	int modes, variants;
} scenarios[] = {
	{ "all have it, or none", all_have_it_or_none, BOTH, ALL },
	{ "fails in a secondary", fails_in_a_secondary, BOTH, ALL },
	{ "fails in all secondaries", fails_in_all_secondaries, BOTH, ALL },
	{ "fails in the primary", fails_in_the_primary, BOTH, ALL },
	{ "undoing fails in a secondary", undoing_fails_in_a_secondary, BOTH, ALL },
	{ "undoing fails in the primary", undoing_fails_in_the_primary, BOTH, ATTACH_ONLY | CALLERS },
	{ "some are there already", some_are_there_already, BOTH, ALL },
	{ "all are there already", all_are_there_already, BOTH, ALL },
	{ "secondary killed before", killed_before, BOTH, ALL },
	{ "secondaries killed during", killed_during, BOTH, ALL },
	{ "secondary killed after its part", killed_after_its_part, BOTH, ALL },
	{ "caller killed", caller_killed, BOTH, OPERATIONS | SECONDARY_ONLY },
	{ "secondary stopped before", stopped_before, BOTH, ALL },
	{ "secondary stopped during", stopped_during, BOTH, ALL },
	{ "secondary stopped, then killed", stopped_then_killed, BOTH, ALL },
	{ "caller stopped", caller_stopped, BOTH, OPERATIONS | SECONDARY_ONLY },
	{ "primary stopped", primary_stopped, BOTH, OPERATIONS | SECONDARY_ONLY },
	{ "primary stopped during", primary_stopped_during, BOTH, OPERATIONS },
	{ "slow is not stopped", slow_driver, BOTH, ALL },
	{ "slower than allowed", too_slow, BOTH, ALL },
	{ "two threads at once", two_threads_at_once, BOTH, CALLERS },
	{ "two processes at once", two_processes_at_once, BOTH, CALLERS },
	{ "the same device from two threads", same_device_from_two_threads, BOTH, CALLERS },
	{ "the same device from two processes", same_device_from_two_processes, BOTH, CALLERS },
	{ "attach and detach at once", attach_and_detach_at_once, BOTH, CALLERS },
	{ "a slow device is in nobody's way", a_slow_device_is_in_nobodys_way, BOTH, ALL },
	{ "lock inversion", lock_inversion, BOTH, DETACH_ONLY },
	{ "nested in the primary", nested_in_the_primary, BOTH, ALL },
	{ "nested in a secondary", nested_in_a_secondary, BOTH, ALL },
	{ "nested in the caller", nested_in_the_caller, BOTH, OPERATIONS | SECONDARY_ONLY },
	{ "nested everywhere", nested_everywhere, BOTH, ALL },
	{ "nested, and the outer fails", nested_and_outer_fails, BOTH, ALL },
	{ "from a plain thread", from_a_plain_thread, BOTH, ALL },
	{ "from an alarm", from_an_alarm, HOSTED, ATTACH_ONLY | CALLERS },
	{ "from a callback", from_a_callback, HOSTED, ATTACH_ONLY | CALLERS },
	{ "a private device stays private", private_device_stays_private, BOTH, CALLERS },
	{ "late joiner", late_joiner, BOTH, CALLERS },
	{ "joins during an operation", joins_during_an_operation, BOTH, ALL },
	{ "coming and going in a storm", coming_and_going_in_a_storm, BOTH, CALLERS },
	{ "primary killed during", primary_killed_during, BOTH, OPERATIONS | SECONDARY_ONLY },
	{ "primary restarts", primary_restarts, EMBEDDED, ONCE },
	{ "fork hides no death", fork_hides_no_death, BOTH, ALL },
	{ "cleanup in any order", cleanup_in_any_order, BOTH, ALL },
	{ "devargs of any length", devargs_of_any_length, BOTH, CALLERS },
};

#define CASES (4 * sizeof(scenarios) / sizeof(scenarios[0]))

static struct variant {
	const struct scenario *scenario;
	bool attach, secondary;
	char name[2 * NAME_SIZE];
} variants[CASES];
static struct test_case cases[CASES];
static size_t count, current;

static void run_variant(void)
{
	const struct variant *variant = &variants[current++];

	attaching = variant->attach;
	by_secondary = variant->secondary;
	group_open();
	variant->scenario->run();
	AT;
	group_close();
}

static void add(const struct scenario *scenario, bool attach_it, bool from_secondary)
{
	struct variant *variant = &variants[count];
	int dimensions = scenario->variants;

	variant->scenario = scenario;
	variant->attach = attach_it;
	variant->secondary = from_secondary;
	snprintf(variant->name, sizeof(variant->name), "%s%s%s", scenario->name,
		 !(dimensions & OPERATIONS) ? "" : attach_it ? ": attach" : ": detach",
		 !(dimensions & CALLERS) ? "" :
		 from_secondary		 ? " (from a secondary)" :
					   " (from the primary)");
	cases[count++] = (struct test_case){ variant->name, run_variant };
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

int main(int argc, char **argv)
{
	bool hosted = argc == 4 && strcmp(argv[1], "hosted") == 0;
	const char *only = getenv("GROUP_ONLY");
	int result;

	if (!hosted && (argc < 3 || strcmp(argv[1], "embedded") != 0)) {
		fprintf(stderr, "usage: %s embedded PEER | hosted PEER LIBRARY\n", argv[0]);
		return EXIT_FAILURE;
	}
	group_begin(hosted, argv[2], argv[3]);
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		if ((scenarios[i].modes & (hosted ? HOSTED : EMBEDDED)) &&
		    (only == NULL || strstr(scenarios[i].name, only) != NULL))
			add_variants(&scenarios[i]);
	result = run_table(cases, count);
	if (group.count > 0)
		group_show_log();
	return result;
}
