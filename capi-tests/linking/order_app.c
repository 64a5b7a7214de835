/* SPDX-License-Identifier: BSD-3-Clause */
/* A DPDK application, linked with librte_hotplug before or after DPDK: says who serves it. */

#include <dlfcn.h>
#include <stdio.h>

#include <rte_dev.h>
#include <rte_eal.h>

int main(void)
{
	union {
		int (*function)(const char *);
		void *address;
	} probe = { .function = rte_dev_probe };
	Dl_info info;

	if (dladdr(probe.address, &info) == 0)
		return 1;
	puts(info.dli_fname);
	return 0;
}
