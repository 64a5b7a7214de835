/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small TAP harness. A test program lists its cases in a table and calls run_table().
 *
 *	static void attaches(void) { CHECK_INT(rte_dev_probe("x0"), 0); }
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_case {
	const char *name;
	void (*run)(void);
};

extern jmp_buf harness_next;
extern _Atomic bool harness_failed;

/* Ends the case at once; what follows would make no sense. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);                   \
			harness_failed = true;                                                     \
			longjmp(harness_next, 1);                                                  \
		}                                                                                  \
	} while (0)

#define CHECK_INT(actual, expected)                                                                \
	do {                                                                                       \
		long long harness_a = (actual), harness_e = (expected);                            \
		if (harness_a != harness_e) {                                                      \
			printf("# %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #actual,     \
			       harness_a, harness_e);                                              \
			harness_failed = true;                                                     \
			longjmp(harness_next, 1);                                                  \
		}                                                                                  \
	} while (0)

/*
 * For functions that the library calls: a jump out of them would leave it in the middle of its work.
 * The failure is noted, and the case goes on.
 */
#define EXPECT(condition)                                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);                   \
			harness_failed = true;                                                     \
		}                                                                                  \
	} while (0)

#define CHECK_STR(actual, expected)                                                                \
	do {                                                                                       \
		const char *harness_a = (actual), *harness_e = (expected);                         \
		if (harness_a == NULL || strcmp(harness_a, harness_e) != 0) {                      \
			printf("# %s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #actual, \
			       harness_a ? harness_a : "(null)", harness_e);                       \
			harness_failed = true;                                                     \
			longjmp(harness_next, 1);                                                  \
		}                                                                                  \
	} while (0)

int run_table(const struct test_case *cases, size_t count);

#endif /* HARNESS_H */
