/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An application with the library linked in, and DPDK (-DWITH_DPDK), or not: says who serves it.
 *
 * usage: static_app DEVICE EAL_ARGUMENTS...
 */

#include <stdio.h>

#include <rte_hotplug.h>

int main(int argc, char **argv)
{
	const char *device = argv[1];
	int result;

#ifdef WITH_DPDK
	/* The linker leaves out a library of which all that is used has another name. */
	if (rte_eal_process_type() == RTE_PROC_INVALID)
		return 1;
#endif
	argv[1] = argv[0];
	if (rte_eal_init(argc - 1, argv + 1) < 0)
		return 1;
	result = rte_dev_probe(device);
	printf("mode %d, probe %d\n", rte_hotplug_mode(), result);
	return rte_eal_cleanup() == 0 ? 0 : 1;
}
