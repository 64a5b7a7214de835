/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernel drivers for PCI functions (rte_hotplug_bind_driver) over the tree of files. What the library
 * writes to them comes by the write() of this program, which does what the kernel would.
 */

#include <sys/stat.h>
#include <sys/syscall.h>

#include "pci_suite.h"

#define OWN "e1000e" /* the driver that the kernel finds by itself */

/* How the kernel behaves. */
static struct {
	bool lies;	/* says that it has bound a function, and has not */
	bool takes_away; /* a function goes when it is unbound */
	int not_ready;	/* so often a bind comes too early */
	int bind_fails;
	int binds;
} kernel;

static char tree[256];

static const char *driver_of(const char *address)
{
	static char target[256];
	ssize_t length = readlink(tree_path("devices/%s/driver", address), target,
				  sizeof(target) - 1);

	if (length <= 0)
		return NULL;
	target[length] = '\0';
	return strrchr(target, '/') + 1;
}

static int bind_to(const char *address, const char *name)
{
	const char *rule;

	kernel.binds++;
	if (access(tree_path("devices/%s", address), F_OK) != 0)
		return ENODEV;
	if (kernel.not_ready > 0 && kernel.not_ready--)
		return ENODEV;
	rule = tree_read(tree_path("devices/%s/driver_override", address));
	if (*rule != '\0' && strcmp(rule, "(null)") != 0 && strcmp(rule, name) != 0)
		return ENODEV;
	if (driver_of(address) != NULL)
		return EBUSY;
	if (kernel.bind_fails != 0 && strcmp(name, OWN) != 0)
		return kernel.bind_fails;
	if (!kernel.lies)
		tree_bind(address, name);
	return 0;
}

/* What a write to this file of the tree comes to: 0 or an errno. */
static int kernel_does(char *path, const char *text)
{
	char *action = strrchr(path, '/');

	*action++ = '\0';
	if (strcmp(action, "drivers_probe") == 0)
		return bind_to(text, OWN);
	if (strcmp(action, "bind") == 0)
		return bind_to(text, strrchr(path, '/') + 1);
	if (strcmp(action, "unbind") == 0 && kernel.takes_away)
		tree_remove(tree_path("devices/%s", text));
	else if (strcmp(action, "unbind") == 0)
		tree_bind(text, NULL);
	return 0;
}

ssize_t write(int file, const void *bytes, size_t count)
{
	char link[64], path[512], text[256];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	length = readlink(link, path, sizeof(path) - 1);
	if (length > 0 && *tree != '\0' && strncmp(path, tree, strlen(tree)) == 0) {
		path[length] = '\0';
		snprintf(text, sizeof(text), "%.*s", (int)count, (const char *)bytes);
		errno = kernel_does(path, text);
		if (errno != 0)
			return -1;
	}
	return syscall(SYS_write, file, bytes, count);
}

static void set_up(const char *bound_to)
{
	*tree = '\0';
	pci_set_up();
	snprintf(tree, sizeof(tree), "%s", tree_path("%s", ""));
	memset(&kernel, 0, sizeof(kernel));
	tree_add_driver(UIO);
	tree_add_driver(OWN);
	tree_add_driver("vfio-pci");
	tree_bind(FUNCTION, bound_to);
}

static const char *override_of(const char *address)
{
	return tree_read(tree_path("devices/%s/driver_override", address));
}

/* Refused with this code, and nothing is changed. */
static void refused(const char *device, const char *to, int code, const char *because)
{
	char before[64], rule[64];
	const char *log;

	snprintf(before, sizeof(before), "%s", driver_of(FUNCTION) ? driver_of(FUNCTION) : "");
	snprintf(rule, sizeof(rule), "%s", override_of(FUNCTION));
	log_catch();
	CHECK_INT(rte_hotplug_bind_driver(device, to), code);
	log = log_caught();
	if (strstr(log, because) == NULL)
		printf("# the log has no \"%s\": %s\n", because, log);
	CHECK(strstr(log, because) != NULL);
	CHECK_STR(driver_of(FUNCTION) ? driver_of(FUNCTION) : "", before);
	CHECK_STR(strcmp(rule, "(null)") == 0 ? "" : rule,
		  strcmp(override_of(FUNCTION), "(null)") == 0 ? "" : override_of(FUNCTION));
}

static void from_one_driver_to_another(void)
{
	set_up(OWN);
	CHECK_INT(rte_dev_probe(FUNCTION), -ENOTSUP);
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, UIO), 0);
	CHECK_STR(driver_of(FUNCTION), UIO);
	CHECK_STR(override_of(FUNCTION), UIO);
	CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_BOUND);
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	CHECK_INT(rte_eal_hotplug_remove("pci", FUNCTION), 0);
	CHECK_INT(rte_hotplug_bind_driver("02:00.0", OWN), 0);
	CHECK_STR(driver_of(FUNCTION), OWN);
	CHECK_STR(override_of(FUNCTION), OWN);
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, ""), 0);
	CHECK(driver_of(FUNCTION) == NULL);
	CHECK_STR(override_of(FUNCTION), "");
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, ""), 0);
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, UIO), 0);
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, NULL), 0);
	CHECK_STR(driver_of(FUNCTION), OWN);
	CHECK_STR(override_of(FUNCTION), "");
}

static void bound_so_before(void)
{
	set_up(UIO);
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, UIO), 0);
	CHECK_STR(override_of(FUNCTION), "(null)");
	CHECK_INT(kernel.binds, 0);
}

static void names_that_are_refused(void)
{
	set_up(OWN);
	refused(NULL, UIO, -EINVAL, "device");
	refused("", UIO, -EINVAL, "address");
	refused("nonsense", UIO, -EINVAL, "address");
	refused("../" FUNCTION, UIO, -EINVAL, "address");
	refused(OTHER, UIO, -ENODEV, "no such PCI function");
	refused(FUNCTION, "nvme", -ENOENT, "modprobe nvme");
	refused(FUNCTION, "a/b", -EINVAL, "no name of a driver");
	refused(FUNCTION, "../drivers", -EINVAL, "no name of a driver");
	refused(FUNCTION, "..", -EINVAL, "no name of a driver");
	refused(FUNCTION, ".", -EINVAL, "no name of a driver");
	refused(FUNCTION, UIO "\n", -ENOENT, "no such driver");
	CHECK_INT(kernel.binds, 0);
}

static void bind_from_inside(struct rte_device *dev)
{
	EXPECT(rte_hotplug_bind_driver(rte_hotplug_device_name(dev), OWN) == -EBUSY);
	EXPECT(rte_hotplug_bind_driver(rte_hotplug_device_name(dev), UIO) == 0);
}

static void while_it_is_attached(void)
{
	set_up(UIO);
	driver.in_probe = driver.in_remove = bind_from_inside;
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	refused(FUNCTION, OWN, -EBUSY, "detach it first");
	refused("02:00.0", "", -EBUSY, "detach it first");
	refused(FUNCTION, NULL, -EBUSY, "detach it first");
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, UIO), 0);
	CHECK_INT(rte_eal_hotplug_remove("pci", FUNCTION), 0);
	CHECK_INT(driver.removes, 1);
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, OWN), 0);
}

/* A group of both functions, and more. */
static void make_group(void)
{
	static const char *const members[] = { FUNCTION, OTHER, "0000:00:01.0" };

	CHECK_INT(mkdir(tree_path("group"), 0700), 0);
	CHECK_INT(mkdir(tree_path("group/devices"), 0700), 0);
	for (int i = 0; i < 3; i++) {
		char target[64];

		snprintf(target, sizeof(target), "../../devices/%s", members[i]);
		CHECK_INT(symlink(target, tree_path("group/devices/%s", members[i])), 0);
	}
	CHECK_INT(symlink("../../group", tree_path("devices/%s/iommu_group", FUNCTION)), 0);
}

static void a_group_with_another_in_the_way(void)
{
	static const char *const harmless[] = { "vfio-pci", "pci-stub", NULL };

	set_up(OWN);
	tree_add(OTHER, 0x1af4, 0x10f0, NETWORK, OWN);
	tree_add("0000:00:01.0", 0x1b36, 0x000c, 0x060400, "pcieport");
	make_group();
	refused(FUNCTION, "vfio-pci", -EBUSY, OTHER " (" OWN ")");
	CHECK_INT(kernel.binds, 0);
	/* Only VFIO cares. */
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, UIO), 0);
	for (int i = 0; i < 3; i++) {
		tree_bind(OTHER, harmless[i]);
		CHECK_INT(rte_hotplug_bind_driver(FUNCTION, "vfio-pci"), 0);
		CHECK_INT(rte_hotplug_bind_driver(FUNCTION, OWN), 0);
	}
	/* Nor does a member that has just gone. */
	tree_remove(tree_path("devices/" OTHER));
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, "vfio-pci"), 0);
	tree_remove(tree_path("group"));
}

static void without_a_group(void)
{
	FILE *file = fopen("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "re");
	bool needs_none = file != NULL && fgetc(file) == 'Y';

	if (file != NULL)
		fclose(file);
	set_up(OWN);
	if (needs_none)
		CHECK_INT(rte_hotplug_bind_driver(FUNCTION, "vfio-pci"), 0);
	else
		refused(FUNCTION, "vfio-pci", -ENOTSUP, "IOMMU");
}

static void one_that_is_not_ready(void)
{
	set_up(NULL);
	kernel.not_ready = 3;
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, UIO), 0);
	CHECK_INT(kernel.binds, 4);
}

static void what_the_kernel_says_is_read_back(void)
{
	set_up(OWN);
	tree_write(tree_path("devices/" FUNCTION "/driver_override"), OWN "\n");
	kernel.lies = true;
	tree_bind(FUNCTION, NULL);
	refused(FUNCTION, UIO, -EIO, "shows that it is not");
	CHECK_STR(override_of(FUNCTION), OWN);
}

static void one_that_the_driver_refuses(void)
{
	set_up(OWN);
	kernel.bind_fails = EINVAL;
	refused(FUNCTION, UIO, -EINVAL, "the driver refuses it");
	CHECK_STR(driver_of(FUNCTION), OWN);
	CHECK_STR(override_of(FUNCTION), "");
	tree_write(tree_path("devices/" FUNCTION "/driver_override"), OWN "\n");
	kernel.bind_fails = EACCES;
	refused(FUNCTION, UIO, -EACCES, "it takes root");
	CHECK_STR(override_of(FUNCTION), OWN);
}

static void one_that_goes_meanwhile(void)
{
	set_up(OWN);
	kernel.takes_away = true;
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, UIO), -ENODEV);
}

static void files_that_are_missing(void)
{
	set_up(OWN);
	tree_remove(tree_path("drivers/" UIO "/bind"));
	refused(FUNCTION, UIO, -ENOENT, "bind");
	CHECK_STR(driver_of(FUNCTION), OWN);
	tree_remove(tree_path("devices/" FUNCTION "/driver_override"));
	CHECK_INT(rte_hotplug_bind_driver(FUNCTION, UIO), -ENOENT);
	CHECK_STR(driver_of(FUNCTION), OWN);
}

static const struct test_case cases[] = {
	{ "from one driver to another", from_one_driver_to_another },
	{ "bound so before", bound_so_before },
	{ "names that are refused", names_that_are_refused },
	{ "while it is attached", while_it_is_attached },
	{ "a group with another in the way", a_group_with_another_in_the_way },
	{ "without a group", without_a_group },
	{ "one that is not ready", one_that_is_not_ready },
	{ "what the kernel says is read back", what_the_kernel_says_is_read_back },
	{ "one that the driver refuses", one_that_the_driver_refuses },
	{ "one that goes meanwhile", one_that_goes_meanwhile },
	{ "files that are missing", files_that_are_missing },
};

int main(void)
{
	return pci_run(cases, sizeof(cases) / sizeof(cases[0]));
}
