/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations that are called inside of others, and on all kinds of threads. */
#include "test_group.h"

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

const struct scenario nested[] = {
	{ "nested in the primary", nested_in_the_primary, BOTH, ALL },
	{ "nested in a secondary", nested_in_a_secondary, BOTH, ALL },
	{ "nested in the caller", nested_in_the_caller, BOTH, OPERATIONS | SECONDARY_ONLY },
	{ "nested everywhere", nested_everywhere, BOTH, ALL },
	{ "nested, and the outer fails", nested_and_outer_fails, BOTH, ALL },
	{ "from a plain thread", from_a_plain_thread, BOTH, ALL },
	{ "from an alarm", from_an_alarm, HOSTED, ATTACH_ONLY | CALLERS },
	{ "from a callback", from_a_callback, HOSTED, ATTACH_ONLY | CALLERS },
	{ 0 },
};
