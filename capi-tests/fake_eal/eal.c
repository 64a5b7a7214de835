/* SPDX-License-Identifier: BSD-3-Clause */
/* Start and end, the version, log lines, threads. */

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "rte_eal.h"

/* Exported like DPDK's; nothing here includes a header with their declarations. */
const char *rte_eal_get_runtime_dir(void);
uint16_t rte_vect_get_max_simd_bitwidth(void);
int rte_log_register_type_and_pick_level(const char *name, uint32_t level);
bool rte_log_can_log(uint32_t type, uint32_t level);
int rte_log(uint32_t level, uint32_t type, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int rte_thread_create_control(pthread_t *thread, const char *name, uint32_t (*work)(void *),
			      void *argument);

#define NOTICE 6

_Thread_local int per_lcore__rte_errno;
bool fake_no_pci;

enum wrong fake_wrong(void)
{
	const char *what = getenv("FAKE_WRONG");

	if (what == NULL)
		return NOTHING;
	if (strcmp(what, "bus") == 0)
		return BUS;
	if (strcmp(what, "late") == 0)
		return LATE_BUS;
	if (strcmp(what, "device") == 0)
		return DEVICE;
	abort();
}

bool fake_echo(const char *format, ...)
{
	va_list arguments;

	if (getenv("FAKE_ECHO") == NULL && fake_wrong() == NOTHING)
		return false;
	fputs("fake ", stdout);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	return true;
}

const char *rte_version(void)
{
	const char *version = getenv("FAKE_VERSION");

	return version != NULL ? version : "DPDK 26.07.0";
}

enum rte_proc_type_t rte_eal_process_type(void)
{
	return RTE_PROC_PRIMARY;
}

const char *rte_eal_get_runtime_dir(void)
{
	const char *directory = getenv("FAKE_DIRECTORY");

	return directory != NULL ? directory : "/nonexistent";
}

uint16_t rte_vect_get_max_simd_bitwidth(void)
{
	return 128;
}

int rte_log_register_type_and_pick_level(const char *name, uint32_t level)
{
	(void)name;
	(void)level;
	return 1;
}

bool rte_log_can_log(uint32_t type, uint32_t level)
{
	const char *limit = getenv("FAKE_LOG");

	(void)type;
	return level <= (limit != NULL ? (uint32_t)atoi(limit) : NOTICE);
}

int rte_log(uint32_t level, uint32_t type, const char *format, ...)
{
	va_list arguments;
	int result;

	if (!rte_log_can_log(type, level))
		return 0;
	flockfile(stderr);
	fprintf(stderr, "type %u level %u: ", type, level);
	va_start(arguments, format);
	result = vfprintf(stderr, format, arguments);
	va_end(arguments);
	funlockfile(stderr);
	return result;
}

struct start {
	uint32_t (*work)(void *);
	void *argument;
};

static void *run(void *argument)
{
	struct start start = *(struct start *)argument;

	free(argument);
	start.work(start.argument);
	return NULL;
}

int rte_thread_create_control(pthread_t *thread, const char *name, uint32_t (*work)(void *),
			      void *argument)
{
	struct start *start = malloc(sizeof(*start));
	int result;

	(void)name;
	if (start == NULL)
		return -ENOMEM;
	*start = (struct start){ .work = work, .argument = argument };
	result = pthread_create(thread, NULL, run, start);
	if (result != 0)
		free(start);
	return -result;
}

static int scan_all(const struct rte_bus *bus, const void *data)
{
	(void)data;
	bus->scan();
	return 1;
}

int rte_eal_init(int argc, char **argv)
{
	bool echoes = fake_echo("rte_eal_init(%d, %s, %s)", argc, argv[0], argv[1]);

	for (int i = 1; i < argc; i++)
		fake_no_pci |= strcmp(argv[i], "--no-pci") == 0;
	fake_start_interrupts();
	if (fake_wrong() == LATE_BUS)
		fake_add_wrong_bus();
	if (fake_open_messages() != 0 ||
	    (rte_mp_action_register("eal_dev_mp_request", fake_on_request) != 0 &&
	     rte_errno != ENOTSUP))
		return -1;
	rte_bus_find(NULL, scan_all, NULL);
	return echoes ? 1011 : argc - 1;
}

static int clean(const struct rte_bus *bus, const void *data)
{
	(void)data;
	return bus->cleanup == NULL || bus->cleanup((struct rte_bus *)(uintptr_t)bus) == 0 ? 1 : 0;
}

int rte_eal_cleanup(void)
{
	fake_close_messages();
	if (fake_echo("rte_eal_cleanup()"))
		return -1012;
	return rte_bus_find(NULL, clean, NULL) == NULL ? 0 : -EFAULT;
}
