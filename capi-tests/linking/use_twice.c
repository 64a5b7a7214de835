/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loads librte_hotplug by path, uses it, closes it while its threads run, and does so again.
 *
 *	use_twice LIBRARY local|global
 */

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef void (*callback_t)(const char *device, int event, void *arg);

typedef union {
	void *address;
	int (*nothing)(void);
	int (*text)(const char *text);
	int (*texts)(const char *first, const char *second);
	int (*with_callback)(const char *device, callback_t callback, void *arg);
	void (*process)(const char *device, int event);
} function_t;

static int told;

static void count(const char *device, int event, void *arg)
{
	(void)device, (void)event, (void)arg;
	told++;
}

static function_t find(void *library, const char *name)
{
	function_t function = { .address = dlsym(library, name) };

	if (function.address == NULL)
		printf("no %s\n", name);
	return function;
}

int main(int argc, char **argv)
{
	int flags = RTLD_NOW | (argc == 3 && strcmp(argv[2], "global") == 0 ? RTLD_GLOBAL : RTLD_LOCAL);
	function_t before = { 0 };

	for (int round = 0; round < 2; round++) {
		void *library = argc == 3 ? dlopen(argv[1], flags) : NULL;
		function_t probe;

		if (library == NULL)
			return 1;
		probe = find(library, "rte_dev_probe");
		printf("same %d\n", round == 0 || probe.address == before.address);
		before = probe;
		printf("mode %d\n", find(library, "rte_hotplug_mode").nothing());
		printf("probe %d\n", probe.text("hotplug_null0"));
		printf("remove %d\n",
		       find(library, "rte_eal_hotplug_remove").texts("vdev", "hotplug_null0"));
		printf("probe %d\n", probe.text("hotplug_null0"));
		printf("register %d\n", find(library, "rte_dev_event_callback_register")
						.with_callback("x", count, &told + round));
		printf("monitor %d\n", find(library, "rte_dev_event_monitor_start").nothing());
		printf("close %d\n", dlclose(library));
		/* Who has a pointer may call on. */
		printf("probe %d\n", probe.text("hotplug_null1"));
	}
	before.address = dlsym(dlopen(argv[1], flags), "rte_dev_event_callback_process");
	before.process("x", 0);
	printf("told %d\n", told);
	return 0;
}
