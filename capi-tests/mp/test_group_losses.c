/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes that die, stop or take too long. */
#include "test_group.h"

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
	wait_lists(secondary[2], attaching ? "tdrv0" : "");
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

const struct scenario losses[] = {
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
	{ 0 },
};
