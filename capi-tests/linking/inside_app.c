/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An application with EAL inside, and librte_hotplug somewhere in the process: says what each serves.
 *
 *	inside_app FILE_PREFIX
 */

#include <dlfcn.h>
#include <stdio.h>

#include <rte_dev.h>
#include <rte_eal.h>

typedef union {
	void *address;
	int (*probe)(const char *devargs);
	int (*mode)(void);
} symbol_t;

int main(int argc, char **argv)
{
	char *words[] = {
		argv[0],	    (char *)"--no-huge",     (char *)"-m", (char *)"64",
		(char *)"--no-pci", (char *)"--file-prefix", argv[1],      NULL,
	};
	symbol_t mode = { .address = dlsym(RTLD_DEFAULT, "rte_hotplug_mode") };
	symbol_t probe = { .address = dlsym(RTLD_DEFAULT, "rte_dev_probe") };

	if (argc != 2 || rte_eal_init(7, words) < 0)
		return 1;
	if (mode.address == NULL)
		return 2;
	printf("program: probe %d\n", rte_dev_probe("net_nowhere"));
	printf("library: mode %d\n", mode.mode());
	printf("library: probe %d\n", probe.probe("hotplug_null0"));
	return rte_eal_cleanup() == 0 ? 0 : 3;
}
