/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A tree of directories and files in the place of /sys/bus/pci, as far as the PCI bus reads and writes
 * it: `devices` with a directory for each function, `drivers` with one for each kernel driver. It is in
 * a temporary directory that goes with the test, whatever becomes of that.
 */
#ifndef PCI_TREE_H
#define PCI_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include <rte_hotplug.h>

#define PAGE ((size_t)4096)

/* A kernel driver for user space that needs no hardware. */
#define UIO "uio_pci_generic"

/* What a function's BARs are. */
#define MEMORY_SIZE (2 * PAGE)	 /* of BAR 0 */
#define PORTS_SIZE 32		 /* of BAR 1 */
#define SMALL_SIZE 256		 /* of BAR 4: memory in the middle of a page */
#define SMALL_OFFSET 0x300
#define CONFIG_SIZE 256

/* Makes the tree and points SYSFS_PCI_DEVICES to it. */
void tree_make(void);

/* Adds a function of this vendor, device and class with all its files, bound to a kernel driver or, with
 * NULL, to none. */
void tree_add(const char *address, unsigned int vendor, unsigned int device, unsigned int class_id,
	      const char *driver);

/* Binds it to another kernel driver; NULL: to none. */
void tree_bind(const char *address, const char *driver);

/* Adds a kernel driver. */
void tree_add_driver(const char *driver);

/* A path in the tree, good until the call after the next. */
const char *tree_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The text of a file, without the end of its line; good until the next call. */
const char *tree_read(const char *path);

/* Writes a file anew. */
void tree_write(const char *path, const char *text);

/* Removes a file, a symbolic link, or a directory with all that is in it. */
void tree_remove(const char *path);

/* Removes all functions and drivers. */
void tree_clear(void);

/* Whether this process has a mapping of a file of the tree: what is left of one after its removal, too. */
bool tree_is_mapped(const char *path);

/* What is written to standard error between the two calls; good until the next time. */
void log_catch(void);
const char *log_caught(void);

#endif /* PCI_TREE_H */
