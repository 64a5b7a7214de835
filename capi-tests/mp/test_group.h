/* SPDX-License-Identifier: BSD-3-Clause */
/* What the scenarios of test_group share. */
#ifndef TEST_GROUP_H
#define TEST_GROUP_H

#include <unistd.h>

#include "group.h"

/* Inside the fake EAL: its own, and those of both. */
enum { EMBEDDED = 1, HOSTED = 2, BOTH = EMBEDDED | HOSTED, FAKE = 4 };
/* Which variants there are: of the operation, and of the process that asks for it. */
enum { ONCE = 0, OPERATIONS = 1, CALLERS = 2, ATTACH_ONLY = 4, DETACH_ONLY = 8,
       SECONDARY_ONLY = 16, ALL = OPERATIONS | CALLERS };

struct scenario {
	const char *name; /* NULL: the end of a table */
	void (*run)(void);
	int modes, variants;
};

extern const struct scenario outcomes[], losses[], at_once[], nested[], members[];

/* The variant of the present case. */
extern bool attaching, by_secondary;
extern struct peer *primary, *secondary[4], *caller;

/* Starts a primary and secondaries, all with the library. */
void start_group(unsigned int secondaries);
/* The same, with tdrv0 attached where the case is about its detach. */
void prepare(unsigned int secondaries);
/* The operation of the variant, on tdrv0. */
int try_it(void);
/* What drivers call the operation, and what undoes it. */
const char *step(void);
const char *undo(void);
void fail_step(struct peer *peer);
void behave_well(struct peer *peer);
/* The driver of this process waits in the operation for open_gate(). */
void close_gate(struct peer *peer);
void wait_at_gate(struct peer *peer);
void open_gate(struct peer *peer);
void short_times(const char *name, const char *ms);
void do_wait_all_members(unsigned int secondaries);

#define EXPECT_IT(code) ((void)AT, do_expect_code("the call", try_it(), code))
#define wait_all_members(secondaries) ((void)AT, do_wait_all_members(secondaries))

#endif /* TEST_GROUP_H */
