/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Something that looks like a DPDK EAL from outside: it has the functions that librte_hotplug needs
 * and replaces, reports every call of a replaced one on standard output, and returns a code that
 * nothing else returns.
 *
 * FAKE_VERSION is what rte_version() returns. FAKE_BUS=wrong: the name in its one bus is not where
 * DPDK has it. Built with FAKE_TOO_OLD, a needed function is missing.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Exported like DPDK's; the declarations would come from its headers. */
#define EXPORT(type, name, ...)                                                                    \
	type name(__VA_ARGS__);                                                                    \
	type name(__VA_ARGS__)

typedef int (*compare_t)(const void *object, const void *data);
typedef void (*event_t)(const char *device, int event, void *argument);
typedef int (*action_t)(const void *message, const void *peer);

extern _Thread_local int per_lcore__rte_errno;
_Thread_local int per_lcore__rte_errno;

static int scan(void)
{
	return 0;
}

static void *find_device(const void *start, compare_t compare, const void *data)
{
	(void)start;
	(void)compare;
	(void)data;
	return NULL;
}

/* struct rte_bus of 20.11 to 26.03, as far as it is read. */
static struct bus {
	void *next[2];
	const char *name;
	int (*scan)(void);
	void *probe;
	void *(*find_device)(const void *start, compare_t compare, const void *data);
	void *rest[32];
} bus = { .name = "fake", .scan = scan, .find_device = find_device };

_Static_assert(offsetof(struct bus, name) == 16, "rte_bus.name");
_Static_assert(offsetof(struct bus, scan) == 24, "rte_bus.scan");
_Static_assert(offsetof(struct bus, find_device) == 40, "rte_bus.find_device");

static bool bus_is_wrong(void)
{
	const char *how = getenv("FAKE_BUS");

	return how != NULL && strcmp(how, "wrong") == 0;
}

/* What librte_hotplug needs. */

EXPORT(const char *, rte_version, void)
{
	const char *version = getenv("FAKE_VERSION");

	return version != NULL ? version : "DPDK 99.11.0";
}

EXPORT(const char *, rte_bus_name, const void *object)
{
	return bus_is_wrong() ? "elsewhere" : ((const struct bus *)object)->name;
}

EXPORT(void *, rte_bus_find, const void *start, compare_t compare, const void *data)
{
	return start == NULL && compare(&bus, data) == 0 ? &bus : NULL;
}

EXPORT(void *, rte_bus_find_by_name, const char *name)
{
	return strcmp(name, bus.name) == 0 ? &bus : NULL;
}

EXPORT(int, rte_devargs_parse, void *devargs, const char *text)
{
	(void)devargs;
	(void)text;
	return -1;
}

EXPORT(int, rte_devargs_insert, void **devargs)
{
	(void)devargs;
	return -1;
}

EXPORT(int, rte_devargs_remove, void *devargs)
{
	(void)devargs;
	return -1;
}

#ifndef FAKE_TOO_OLD
EXPORT(void *, rte_devargs_next, const char *bus_name, const void *start)
{
	(void)bus_name;
	(void)start;
	return NULL;
}
#endif

EXPORT(void, rte_devargs_reset, void *devargs)
{
	(void)devargs;
}

EXPORT(int, rte_eal_process_type, void)
{
	return 0;
}

EXPORT(const char *, rte_eal_get_runtime_dir, void)
{
	return "/nonexistent";
}

EXPORT(void, rte_mp_action_unregister, const char *name)
{
	(void)name;
}

EXPORT(uint16_t, rte_vect_get_max_simd_bitwidth, void)
{
	return 128;
}

EXPORT(int, rte_log_register_type_and_pick_level, const char *name, uint32_t level)
{
	(void)name;
	(void)level;
	return 1;
}

EXPORT(bool, rte_log_can_log, uint32_t type, uint32_t level)
{
	(void)type;
	(void)level;
	return true;
}

EXPORT(int, rte_log, uint32_t level, uint32_t type, const char *format, ...)
{
	va_list arguments;
	int result;

	fprintf(stderr, "type %u level %u: ", type, level);
	va_start(arguments, format);
	result = vfprintf(stderr, format, arguments);
	va_end(arguments);
	return result;
}

/* What librte_hotplug replaces. */

EXPORT(int, rte_dev_probe, const char *devargs)
{
	printf("fake rte_dev_probe(%s)\n", devargs);
	return -1001;
}

EXPORT(int, rte_dev_remove, void *device)
{
	printf("fake rte_dev_remove(%p)\n", device);
	return -1002;
}

EXPORT(int, rte_eal_hotplug_add, const char *bus_name, const char *device, const char *arguments)
{
	printf("fake rte_eal_hotplug_add(%s, %s, %s)\n", bus_name, device, arguments);
	return -1003;
}

EXPORT(int, rte_eal_hotplug_remove, const char *bus_name, const char *device)
{
	printf("fake rte_eal_hotplug_remove(%s, %s)\n", bus_name, device);
	return -1004;
}

EXPORT(int, rte_dev_event_callback_register, const char *device, event_t callback, void *argument)
{
	printf("fake rte_dev_event_callback_register(%s, %p)\n", device ? device : "NULL",
	       argument);
	callback("from register", 0, argument);
	return -1005;
}

EXPORT(int, rte_dev_event_callback_unregister, const char *device, event_t callback, void *argument)
{
	printf("fake rte_dev_event_callback_unregister(%s, %p)\n", device ? device : "NULL",
	       argument);
	callback("from unregister", 1, argument);
	return -1006;
}

EXPORT(void, rte_dev_event_callback_process, const char *device, int event)
{
	printf("fake rte_dev_event_callback_process(%s, %d)\n", device, event);
}

EXPORT(int, rte_dev_event_monitor_start, void)
{
	puts("fake rte_dev_event_monitor_start()");
	return -1007;
}

EXPORT(int, rte_dev_event_monitor_stop, void)
{
	puts("fake rte_dev_event_monitor_stop()");
	return -1008;
}

EXPORT(int, rte_dev_hotplug_handle_enable, void)
{
	puts("fake rte_dev_hotplug_handle_enable()");
	return -1009;
}

EXPORT(int, rte_dev_hotplug_handle_disable, void)
{
	puts("fake rte_dev_hotplug_handle_disable()");
	return -1010;
}

/* What it stands in front of. */

EXPORT(int, rte_eal_init, int count, char **words)
{
	printf("fake rte_eal_init(%d, %s, %s)\n", count, words[0], words[1]);
	return 1011;
}

EXPORT(int, rte_eal_cleanup, void)
{
	puts("fake rte_eal_cleanup()");
	return -1012;
}

EXPORT(int, rte_mp_action_register, const char *name, action_t action)
{
	printf("fake rte_mp_action_register(%s, %d)\n", name, action != NULL);
	return -1013;
}
