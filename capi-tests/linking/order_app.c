/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A DPDK application, linked with librte_hotplug before or after DPDK, or opening it: says who serves it.
 *
 *	order_app [LIBRARY]
 */

#include <dlfcn.h>
#include <stdio.h>

#include <rte_dev.h>
#include <rte_eal.h>

int main(int argc, char **argv)
{
	union {
		int (*function)(const char *);
		void *address;
	} probe = { .function = rte_dev_probe };
	Dl_info info;

	if (argc > 1 && dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) == NULL)
		return 2;
	if (dladdr(probe.address, &info) == 0)
		return 1;
	puts(info.dli_fname);
	return 0;
}
