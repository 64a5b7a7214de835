/* SPDX-License-Identifier: BSD-3-Clause */
/* Start and end, the version, log lines, threads. */

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
struct fake_options fake_options;

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
	return fake_options.secondary ? RTE_PROC_SECONDARY : RTE_PROC_PRIMARY;
}

const char *rte_eal_get_runtime_dir(void)
{
	return fake_has_messages() ? fake_options.directory : "/nonexistent";
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

static int probe_all(const struct rte_bus *bus, const void *data)
{
	(void)data;
	bus->probe((struct rte_bus *)(uintptr_t)bus);
	return 1;
}

/* The directory of a --file-prefix. */
static void choose_directory(const char *prefix)
{
	const char *base = geteuid() == 0 ? "/var/run" : getenv("XDG_RUNTIME_DIR");
	char *directory = fake_options.directory;
	size_t room = sizeof(fake_options.directory);

	base = base != NULL ? base : "/tmp";
	snprintf(directory, room, "%s/dpdk", base);
	mkdir(directory, 0700);
	snprintf(directory, room, "%s/dpdk/%s", base, prefix);
	mkdir(directory, 0700);
}

/* Those that have a value are followed by it. */
static int take_options(int argc, char **argv)
{
	const char *directory = getenv("FAKE_DIRECTORY"), *prefix = NULL, *type = NULL;

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--no-pci") == 0)
			fake_options.no_pci = getenv("FAKE_PCI") == NULL;
		else if (strcmp(argv[i], "--file-prefix") == 0)
			prefix = value;
		else if (strcmp(argv[i], "--proc-type") == 0)
			type = value;
		else if (strcmp(argv[i], "--vdev") == 0 &&
			 rte_devargs_add(RTE_DEVTYPE_VIRTUAL, value) != 0)
			return -1;
		else if (strcmp(argv[i], "-a") == 0 &&
			 rte_devargs_add(RTE_DEVTYPE_ALLOWED, value) != 0)
			return -1;
	}
	fake_options.secondary = type != NULL && strcmp(type, "secondary") == 0;
	if (directory != NULL)
		snprintf(fake_options.directory, sizeof(fake_options.directory), "%s", directory);
	else if (type != NULL && prefix != NULL)
		choose_directory(prefix);
	return 0;
}

int rte_eal_init(int argc, char **argv)
{
	bool echoes = fake_echo("rte_eal_init(%d, %s, %s)", argc, argv[0], argv[1]);

	if (take_options(argc, argv) != 0)
		return -1;
	fake_start_interrupts();
	if (fake_wrong() == LATE_BUS)
		fake_add_wrong_bus();
	if (fake_open_messages() != 0 ||
	    (rte_mp_action_register("eal_dev_mp_request", fake_on_request) != 0 &&
	     rte_errno != ENOTSUP))
		return -1;
	rte_bus_find(NULL, scan_all, NULL);
	rte_bus_find(NULL, probe_all, NULL);
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
