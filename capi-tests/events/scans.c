/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an attach of one PCI function does with the others, in a tree of directories and files
 * (SYSFS_PCI_DEVICES): with SCANS_EMBEDDED by the library's own runtime, else by stock DPDK. Prints
 * "result: ...".
 *
 * usage: scans CASE DIRECTORY FUNCTION        (the tree, and the function that is attached)
 *
 *	others		how many other functions' vendor is opened
 *	sriov		whether the function's own sriov_numvfs is
 *	dangling	the attach, beside a link to nowhere
 *	empty		the attach, beside a function whose files have gone
 */

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef SCANS_EMBEDDED
#include <rte_hotplug.h>
#else
#include <rte_dev.h>
#include <rte_eal.h>

#include "pci_driver.h"
#endif

static const char *directory, *function;

#ifdef SCANS_EMBEDDED
static int take(struct rte_device *device, void *user)
{
	(void)device, (void)user;
	return 0;
}

static void register_driver(void)
{
	static const struct rte_hotplug_pci_id ids[] = {
		{ RTE_HOTPLUG_PCI_ANY_CLASS, 0x1af4, 0x10f0, RTE_HOTPLUG_PCI_ANY_ID,
		  RTE_HOTPLUG_PCI_ANY_ID },
		{ 0 },
	};
	const struct rte_hotplug_driver_options options = {
		.size = sizeof(options),
		.name = "scans",
		.bus = "pci",
		.probe = take,
		.remove = take,
		.pci_ids = ids,
	};

	if (rte_hotplug_driver_register(&options, NULL) != 0)
		abort();
}
#else
static int take(struct rte_pci_driver *driver, struct rte_pci_device *device)
{
	(void)driver, (void)device;
	return 0;
}

static int drop(struct rte_pci_device *device)
{
	(void)device;
	return 0;
}

static void register_driver(void)
{
	static const struct pci_id ids[] = { { 0xffffff, 0x1af4, 0x10f0, 0xffff, 0xffff }, { 0 } };
	static struct rte_pci_driver driver = {
		.driver = { .name = "scans" },
		.probe = take,
		.remove = drop,
		.id_table = ids,
	};

	rte_pci_register(&driver);
}
#endif

static const char *path_of(const char *of, const char *file)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s/%s", directory, of, file);
	return path;
}

/* How many of the watched files have been opened; each one counts once. */
static int opened(int watch)
{
	struct inotify_event event;
	bool seen[4096] = { false };
	int count = 0;

	/* Files have no names in their own events. */
	while (read(watch, &event, sizeof(event)) == sizeof(event)) {
		if (event.wd < 0 || event.wd >= 4096)
			abort();
		count += !seen[event.wd];
		seen[event.wd] = true;
	}
	return count;
}

static int detach_and_attach(void)
{
	int code = rte_eal_hotplug_remove("pci", function);

	return code != 0 ? code : rte_eal_hotplug_add("pci", function, "");
}

static void others(void)
{
	int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), watched = 0, code;
	DIR *tree = opendir(directory);
	struct dirent *entry;

	if (tree == NULL)
		abort();
	while ((entry = readdir(tree)) != NULL)
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, function) != 0)
			watched += inotify_add_watch(watch, path_of(entry->d_name, "vendor"),
						     IN_OPEN) > 0;
	closedir(tree);
	code = detach_and_attach();
	printf("result: attach %d, reads %d of %d others\n", code, opened(watch), watched);
}

static void sriov(void)
{
	int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), code;

	if (inotify_add_watch(watch, path_of(function, "sriov_numvfs"), IN_OPEN) < 0)
		abort();
	code = detach_and_attach();
	printf("result: attach %d, %s\n", code, opened(watch) != 0 ? "read" : "not read");
}

static void dangling(void)
{
	if (chdir(directory) != 0 || symlink("nowhere", "0000:7f:00.0") != 0)
		abort();
	printf("result: attach %d\n", detach_and_attach());
}

static void empty(void)
{
	if (chdir(directory) != 0 || mkdir("0000:7f:00.0", 0700) != 0)
		abort();
	printf("result: attach %d\n", detach_and_attach());
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "others", others },
	{ "sriov", sriov },
	{ "dangling", dangling },
	{ "empty", empty },
};

int main(int argc, char **argv)
{
	char prefix[64];
	/* DPDK's PCI bus wants physical addresses under uio, which huge pages have. */
	char *eal[] = { argv[0], (char *)"--in-memory", (char *)"-m", (char *)"32",
			(char *)"--file-prefix", prefix, NULL };

	if (argc != 4)
		return EXIT_FAILURE;
	directory = argv[2];
	function = argv[3];
	snprintf(prefix, sizeof(prefix), "hotplug_scans_%d", (int)getpid());
	register_driver();
	if (rte_eal_init(6, eal) < 0) {
		printf("result: failed to start\n");
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(cases[i].name, argv[1]) == 0)
			cases[i].run();
	fflush(stdout);
	return rte_eal_cleanup() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
