/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lab-barfault PID: makes every later access of that process to its VFIO device's BARs fault.
 *
 * With memory decoding off in the command register vfio-pci takes the mappings away, as it would
 * for a device that is gone. The register is written through the process's own VFIO descriptor.
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

/* vfio-pci gives each region 1 TiB of its descriptor's offsets. */
static const off_t COMMAND = ((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40) + PCI_COMMAND;

static int turn_off(int process, int descriptor)
{
	uint16_t off = 0;
	int fd = (int)syscall(SYS_pidfd_getfd, process, descriptor, 0);

	if (fd < 0 || pwrite(fd, &off, sizeof(off), COMMAND) != sizeof(off)) {
		perror("command register");
		return -1;
	}
	close(fd);
	return 0;
}

static int is_device(int directory, const char *name)
{
	char target[64] = "";

	return readlinkat(directory, name, target, sizeof(target) - 1) > 0 &&
	       strstr(target, "vfio-device") != NULL;
}

int main(int argc, char **argv)
{
	char path[64];
	int process, turned = 0;
	struct dirent *entry;
	DIR *descriptors;

	if (argc != 2)
		return EXIT_FAILURE;
	process = (int)syscall(SYS_pidfd_open, atoi(argv[1]), 0);
	snprintf(path, sizeof(path), "/proc/%d/fd", atoi(argv[1]));
	descriptors = opendir(path);
	if (process < 0 || descriptors == NULL) {
		perror(path);
		return EXIT_FAILURE;
	}
	while ((entry = readdir(descriptors)) != NULL)
		if (is_device(dirfd(descriptors), entry->d_name))
			turned += turn_off(process, atoi(entry->d_name)) == 0;
	closedir(descriptors);
	return turned > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
