/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci_tree.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[128];
static int alive; /* the other end is at its end when this process is */
static pid_t remover;

static void need(bool done, const char *what)
{
	if (!done) {
		perror(what);
		printf("Bail out! the tree of PCI functions: %s\n", what);
		exit(EXIT_FAILURE);
	}
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status, (void)type, (void)walk;
	return remove(path);
}

void tree_remove(const char *path)
{
	need(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0, path);
}

static void tree_end(void)
{
	close(alive);
	waitpid(remover, NULL, 0);
}

/* A child removes the tree: it outlives what a fault or a signal ends. */
static void leave_nothing(void)
{
	int ends[2];
	char nothing;

	need(pipe2(ends, O_CLOEXEC) == 0, "pipe");
	fflush(stdout);
	remover = fork();
	need(remover >= 0, "fork");
	if (remover == 0) {
		close(ends[1]);
		setpgid(0, 0);
		while (read(ends[0], &nothing, 1) > 0)
			;
		nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
		_exit(EXIT_SUCCESS);
	}
	close(ends[0]);
	alive = ends[1];
	atexit(tree_end);
}

void tree_make(void)
{
	char made[] = "/tmp/hotplug_tree_XXXXXX";

	need(mkdtemp(made) != NULL, "mkdtemp");
	snprintf(root, sizeof(root), "%s", made);
	leave_nothing();
	need(mkdir(tree_path("devices"), 0700) == 0, "devices");
	need(mkdir(tree_path("drivers"), 0700) == 0, "drivers");
	tree_write(tree_path("drivers_probe"), "");
	setenv("SYSFS_PCI_DEVICES", tree_path("devices"), 1);
}

const char *tree_path(const char *format, ...)
{
	static char paths[2][512];
	static unsigned int calls;
	char *path = paths[calls++ % 2];
	int length = snprintf(path, sizeof(paths[0]), "%s/", root);
	va_list values;

	va_start(values, format);
	vsnprintf(path + length, sizeof(paths[0]) - (size_t)length, format, values);
	va_end(values);
	return path;
}

const char *tree_read(const char *path)
{
	static char text[512];
	FILE *file = fopen(path, "re");

	need(file != NULL, path);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	text[strcspn(text, "\n")] = '\0';
	fclose(file);
	return text;
}

void tree_write(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	need(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0, path);
}

/* Files of the size that the kernel shows; their content is their number. */
static void make_region(const char *address, const char *name, size_t size, char content)
{
	const char *path = tree_path("devices/%s/%s", address, name);
	FILE *file = fopen(path, "we");

	need(file != NULL, path);
	for (size_t i = 0; i < size; i++)
		fputc(content, file);
	need(fclose(file) == 0, path);
}

static void write_number(const char *address, const char *name, unsigned int number)
{
	char text[16];

	snprintf(text, sizeof(text), "0x%04x\n", number);
	tree_write(tree_path("devices/%s/%s", address, name), text);
}

void tree_add(const char *address, unsigned int vendor, unsigned int device, unsigned int class_id,
	      const char *driver)
{
	static const char resources[] = /* memory, ports, none, none, less than a page, none */
		"0x00000000febc0000 0x00000000febc1fff 0x0000000000040200\n"
		"0x000000000000c000 0x000000000000c01f 0x0000000000040101\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		"0x00000000febd3300 0x00000000febd33ff 0x0000000000040200\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n";

	need(mkdir(tree_path("devices/%s", address), 0700) == 0, address);
	write_number(address, "vendor", vendor);
	write_number(address, "device", device);
	write_number(address, "subsystem_vendor", 0x1af4);
	write_number(address, "subsystem_device", 0x0001);
	write_number(address, "class", class_id);
	tree_write(tree_path("devices/%s/numa_node", address), "0\n");
	tree_write(tree_path("devices/%s/driver_override", address), "(null)\n");
	tree_write(tree_path("devices/%s/resource", address), resources);
	make_region(address, "config", CONFIG_SIZE, 'c');
	make_region(address, "resource0", MEMORY_SIZE, '0');
	make_region(address, "resource1", PORTS_SIZE, '1');
	make_region(address, "resource4", PAGE, '4');
	tree_bind(address, driver);
}

void tree_bind(const char *address, const char *driver)
{
	char target[128];

	unlink(tree_path("devices/%s/driver", address));
	if (driver == NULL)
		return;
	snprintf(target, sizeof(target), "../../drivers/%s", driver);
	need(symlink(target, tree_path("devices/%s/driver", address)) == 0, "driver");
}

void tree_add_driver(const char *driver)
{
	need(mkdir(tree_path("drivers/%s", driver), 0700) == 0, driver);
	tree_write(tree_path("drivers/%s/bind", driver), "");
	tree_write(tree_path("drivers/%s/unbind", driver), "");
}

void tree_clear(void)
{
	tree_remove(tree_path("devices"));
	tree_remove(tree_path("drivers"));
	need(mkdir(tree_path("devices"), 0700) == 0, "devices");
	need(mkdir(tree_path("drivers"), 0700) == 0, "drivers");
}

bool tree_is_mapped(const char *path)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[1024];
	bool found = false;

	need(maps != NULL, "/proc/self/maps");
	while (!found && fgets(line, sizeof(line), maps) != NULL)
		found = strstr(line, path) != NULL;
	fclose(maps);
	return found;
}

static int kept_stderr = -1;
static FILE *caught;

void log_catch(void)
{
	kept_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	caught = tmpfile();
	need(kept_stderr >= 0 && caught != NULL, "catch standard error");
	dup2(fileno(caught), STDERR_FILENO);
}

const char *log_caught(void)
{
	static char text[4096];

	dup2(kept_stderr, STDERR_FILENO);
	close(kept_stderr);
	rewind(caught);
	text[fread(text, 1, sizeof(text) - 1, caught)] = '\0';
	fclose(caught);
	return text;
}
