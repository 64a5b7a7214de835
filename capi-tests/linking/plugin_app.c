/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An application without DPDK that loads a plug-in which has it, out of sight of everybody else.
 *
 *	plugin_app PLUGIN FILE_PREFIX [embedded|close]
 *
 * With "embedded" the embedded runtime of the preloaded librte_hotplug has a device before. With "close"
 * the plug-in leaves DPDK running, is closed, and the application attaches and detaches.
 */

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef union {
	void *address;
	int (*probe)(const char *devargs);
	int (*mode)(void);
	void *(*find)(const char *bus, const char *name);
	int (*run)(char *prefix, int leave);
	int (*remove)(const char *bus, const char *name);
	int (*nothing)(void);
} symbol_t;

int main(int argc, char **argv)
{
	symbol_t probe = { .address = dlsym(RTLD_DEFAULT, "rte_dev_probe") };
	symbol_t mode = { .address = dlsym(RTLD_DEFAULT, "rte_hotplug_mode") };
	symbol_t find = { .address = dlsym(RTLD_DEFAULT, "rte_hotplug_device_find") };
	symbol_t run;
	void *plugin;
	int result;

	if (argc < 3 || !probe.address || !mode.address || !find.address)
		return 2;
	if (argc > 3 && strcmp(argv[3], "embedded") == 0) {
		printf("app: probe %d\n", probe.probe("hotplug_null0"));
		printf("app: mode %d\n", mode.mode());
		printf("app: device %d\n", find.find("vdev", "hotplug_null0") != NULL);
	}
	plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	if (plugin == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		return 3;
	}
	run.address = dlsym(plugin, "plugin_run");
	if (run.address == NULL)
		return 4;
	result = run.run(argv[2], argc > 3 && strcmp(argv[3], "close") == 0);
	if (argc > 3 && strcmp(argv[3], "close") == 0) {
		symbol_t remove = { .address = dlsym(RTLD_DEFAULT, "rte_eal_hotplug_remove") };
		symbol_t cleanup = { .address = dlsym(RTLD_DEFAULT, "rte_eal_cleanup") };

		printf("app: close %d\n", dlclose(plugin));
		for (int i = 0; i < 2; i++) {
			printf("app: probe %d\n", probe.probe("net_null1"));
			printf("app: remove %d\n", remove.remove("vdev", "net_null1"));
		}
		printf("app: cleanup %d\n", cleanup.nothing());
	}
	printf("app: mode %d\n", mode.mode());
	printf("app: device %d\n", find.find("vdev", "hotplug_null0") != NULL);
	return result;
}
