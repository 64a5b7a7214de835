/* SPDX-License-Identifier: BSD-3-Clause */
/* What callers are told when drivers fail, or have done already what they are asked for. */
#include "test_group.h"

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

const struct scenario outcomes[] = {
	{ "all have it, or none", all_have_it_or_none, BOTH, ALL },
	{ "fails in a secondary", fails_in_a_secondary, BOTH, ALL },
	{ "fails in all secondaries", fails_in_all_secondaries, BOTH, ALL },
	{ "fails in the primary", fails_in_the_primary, BOTH, ALL },
	{ "undoing fails in a secondary", undoing_fails_in_a_secondary, BOTH, ALL },
	{ "undoing fails in the primary", undoing_fails_in_the_primary, BOTH, ATTACH_ONLY | CALLERS },
	{ "some are there already", some_are_there_already, BOTH, ALL },
	{ "all are there already", all_are_there_already, BOTH, ALL },
	{ 0 },
};
