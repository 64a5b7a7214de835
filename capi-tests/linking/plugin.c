/* SPDX-License-Identifier: BSD-3-Clause */
/* A plug-in that brings DPDK along, and attaches and detaches a device. */

#include <dlfcn.h>
#include <stdio.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>

int plugin_run(char *prefix, int leave);

/* With `leave` DPDK goes on afterwards. */
int plugin_run(char *prefix, int leave)
{
	char *argv[] = {
		(char *)"plugin",   (char *)"--no-huge",	 (char *)"-m", (char *)"64",
		(char *)"--no-pci", (char *)"--file-prefix", prefix,       NULL,
	};
	union {
		void *address;
		int (*mode)(void);
	} symbol = { .address = dlsym(RTLD_DEFAULT, "rte_hotplug_mode") };

	if (symbol.address == NULL)
		return 10;
	printf("plugin: mode %d\n", symbol.mode());
	if (rte_eal_init(7, argv) < 0)
		return 11;
	printf("plugin: probe %d\n", rte_dev_probe("net_null0"));
	printf("plugin: ports %d\n", rte_eth_dev_count_avail());
	printf("plugin: mode %d\n", symbol.mode());
	printf("plugin: remove %d\n", rte_eal_hotplug_remove("vdev", "net_null0"));
	printf("plugin: ports %d\n", rte_eth_dev_count_avail());
	return leave || rte_eal_cleanup() == 0 ? 0 : 12;
}
