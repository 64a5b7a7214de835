/* SPDX-License-Identifier: BSD-3-Clause */
#include "harness.h"

jmp_buf harness_next;
_Atomic bool harness_failed;

/* In a function of its own: longjmp would leave locals of the loop undefined. */
static bool run_case(const struct test_case *test)
{
	harness_failed = false;
	if (setjmp(harness_next) == 0)
		test->run();
	return !harness_failed;
}

int run_table(const struct test_case *cases, size_t count)
{
	int failures = 0;

	printf("1..%zu\n", count);
	for (size_t i = 0; i < count; i++) {
		bool passed = run_case(&cases[i]);

		printf("%sok %zu - %s\n", passed ? "" : "not ", i + 1, cases[i].name);
		fflush(stdout);
		failures += !passed;
	}
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
