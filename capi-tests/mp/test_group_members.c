/* SPDX-License-Identifier: BSD-3-Clause */
/* Who joins, leaves and forks; devices of its own, and arguments of any length. */
#include "test_group.h"

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

/* Only what the command line names keeps others out, not what has been attached since. */
static void late_joiner_with_functions(void)
{
	struct peer *late;

	group_setenv("FAKE_PCI", "1");
	start_group(1);
	attach(caller, "0000:f1:00.0", 0);
	attach(caller, "0000:f2:00.0", 0);
	start_peer(0, NULL);
	check_agree();
	late = start_peer(0, "-a 0000:f2:00.0");
	CHECK_STR(ask(late, "list"), " 0000:f2:00.0");
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
		bool empty = (group.hosted || group.fake) && !group.peers[i].primary;

		if (!group.peers[i].ended)
			CHECK_STR(ask(&group.peers[i], "arguments tdrv0"), empty ? "" : arguments);
	}
}

static void devargs_of_any_length(void)
{
	static const size_t lengths[] = { 127, 128, 4096 };
	int refused;

	start_group(2);
	/* As DPDK's own function: its auxiliary bus, which 20.11 has not yet, takes any name. */
	refused = atoi(ask(caller, "attach "));
	CHECK(refused == -EFAULT || (group.hosted && refused == -ENODEV));
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

/* A child works for itself, also while its parent takes part in an operation. */
static void children_work_alone(void)
{
	prepare(2);
	CHECK_INT(atoi(ask(primary, "child")), 0);
	CHECK_INT(atoi(ask(secondary[0], "child")), 0);
	check_agree();
	close_gate(secondary[0]);
	begin(caller, attaching, "tdrv0");
	wait_at_gate(secondary[0]);
	/* DPDK's vdev bus has its lock during a remove, and a child would wait for it for ever. */
	if (attaching || !group.hosted)
		CHECK_INT(atoi(ask(secondary[0], "child")), 0);
	CHECK_INT(atoi(ask(primary, "child")), 0);
	open_gate(secondary[0]);
	finishes(caller, 0);
	check_agree();
	attach(secondary[1], "tdrv1", 0);
	detach(secondary[0], "tdrv1", 0);
	check_agree();
}

const struct scenario members[] = {
	{ "a private device stays private", private_device_stays_private, BOTH, CALLERS },
	{ "late joiner", late_joiner, BOTH, CALLERS },
	{ "late joiner with functions", late_joiner_with_functions, FAKE, CALLERS },
	{ "joins during an operation", joins_during_an_operation, BOTH, ALL },
	{ "coming and going in a storm", coming_and_going_in_a_storm, BOTH, CALLERS },
	{ "primary killed during", primary_killed_during, BOTH, OPERATIONS | SECONDARY_ONLY },
	{ "primary restarts", primary_restarts, EMBEDDED, ONCE },
	{ "fork hides no death", fork_hides_no_death, BOTH, ALL },
	{ "children work alone", children_work_alone, BOTH, ALL },
	{ "cleanup in any order", cleanup_in_any_order, BOTH, ALL },
	{ "devargs of any length", devargs_of_any_length, BOTH, CALLERS },
	{ 0 },
};
