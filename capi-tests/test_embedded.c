/* SPDX-License-Identifier: BSD-3-Clause */
/* The embedded runtime: start by itself and by rte_eal_init, its options, its C structs. */

#include <pthread.h>

#include "suite.h"

/* struct rte_device, rte_devargs, rte_driver and rte_bus as DPDK 22.11 and later lay them out. */
struct link {
	void *next, *prev;
};

struct dpdk_named {
	struct link link;
	const char *name;
	const char *alias;
};

struct dpdk_devargs {
	struct link link;
	int type, policy;
	char name[64];
	const char *args;
	struct dpdk_named *bus;
	void *cls;
	const char *bus_str, *cls_str;
	char *data;
};

struct dpdk_device {
	struct link link;
	const char *name;
	const char *bus_info;
	const struct dpdk_named *driver;
	const struct dpdk_named *bus;
	int numa_node;
	struct dpdk_devargs *devargs;
};

/* The default prefix is everybody's. */
#define PREFIX "--file-prefix", suite_prefix

static int init(int argc, const char **argv)
{
	return rte_eal_init(argc, (char **)(void *)argv);
}

static void the_first_call_starts_it(void)
{
	CHECK_INT(rte_hotplug_mode(), RTE_HOTPLUG_MODE_EMBEDDED);
	CHECK_INT(rte_dev_probe("hotplug_null0"), 0);
	CHECK_INT(rte_eal_cleanup(), 0);
	CHECK(rte_hotplug_device_next(NULL, NULL) == NULL);
}

static void options_of_eal(void)
{
	const char *argv[] = {
		"app", "--vdev", "hotplug_null1,k=v", "--vdev=hotplug_null2", "--no-pci", "--no-huge",
		"--in-memory", "--no-shconf", "--file-prefix", "x", "--proc-type=auto", "-l", "0",
		"--log-level=lib.hotplug:err", "--", "-q", NULL,
	};
	struct rte_device *dev;

	CHECK_INT(init(16, argv), 14);
	CHECK_STR(argv[14], "app");
	CHECK_STR(argv[15], "-q");
	dev = rte_hotplug_device_find("vdev", "hotplug_null1");
	CHECK_STR(rte_hotplug_device_devargs(dev), "k=v");
	CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_PROBED);
	CHECK(rte_hotplug_device_find("vdev", "hotplug_null2") != NULL);
	errno = 0;
	CHECK_INT(init(1, argv), -1);
	CHECK_INT(errno, EALREADY);
	CHECK_INT(rte_eal_cleanup(), 0);
	CHECK(rte_hotplug_device_find("vdev", "hotplug_null1") == NULL);
}

static void bad_options(void)
{
	static const struct {
		const char *option, *value;
		int error;
	} table[] = {
		{ "--proc-type", "secondary", ENOENT },   { "--proc-type", "boss", EINVAL },
		{ "--vdev", "no_such_driver0", EFAULT },   { "--vdev", NULL, EINVAL },
		{ "--log-level", "lib.hotplug:x", EINVAL }, { "-a", "no_such_bus:x", EFAULT },
		{ "--file-prefix", "../x", EINVAL },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *argv[] = { "app", PREFIX, table[i].option, table[i].value, NULL };

		errno = 0;
		CHECK_INT(init(table[i].value ? 5 : 4, argv), -1);
		CHECK_INT(errno, table[i].error);
	}
	errno = 0;
	CHECK_INT(rte_eal_init(3, NULL), -1);
	CHECK_INT(errno, EINVAL);
}

static void a_failed_probe_at_start_is_left(void)
{
	const char *argv[] = { "app", PREFIX, "--vdev", "hotplug_null3,fail=5", NULL };
	struct rte_device *dev;

	CHECK_INT(init(5, argv), 4);
	dev = rte_hotplug_device_find("vdev", "hotplug_null3");
	CHECK(dev != NULL);
	CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_FOUND);
	CHECK_INT(rte_dev_probe("hotplug_null3,fail=19"), -19);
	CHECK_INT(rte_dev_probe("hotplug_null3,fail=x"), -EINVAL);
	CHECK_INT(rte_dev_probe("hotplug_null3"), 0);
	CHECK_INT(rte_eal_cleanup(), 0);
}

static void a_failed_start_keeps_what_there_was(void)
{
	const char *bad[] = { "app", PREFIX, "--vdev", "no_such_driver0", NULL };
	const char *good[] = { "app", PREFIX, NULL };

	CHECK_INT(rte_dev_probe("hotplug_null6"), 0);
	CHECK_INT(init(5, bad), -1);
	CHECK_INT(rte_dev_probe("hotplug_null7,fail=1"), -1);
	CHECK_INT(rte_eal_cleanup(), 0);
	CHECK(rte_hotplug_device_next(NULL, NULL) == NULL);
	CHECK_INT(init(3, good), 2);
	CHECK(rte_hotplug_device_next(NULL, NULL) == NULL);
	CHECK_INT(rte_eal_cleanup(), 0);
}

struct race {
	pthread_barrier_t start;
	struct rte_device *dev;
	int removed, removed_by_name, attached;
};

static void *remove_by_pointer(void *arg)
{
	struct race *race = arg;

	pthread_barrier_wait(&race->start);
	race->removed = rte_dev_remove(race->dev);
	return NULL;
}

static void *remove_and_attach_next(void *arg)
{
	struct race *race = arg;

	pthread_barrier_wait(&race->start);
	race->removed_by_name = rte_eal_hotplug_remove("vdev", "hotplug_null8");
	race->attached = rte_dev_probe("hotplug_null9");
	return NULL;
}

/* A stale pointer must not take the next device along, which may stand where the old one stood. */
static void a_stale_pointer_takes_no_other_device(void)
{
	for (int round = 0; round < 500; round++) {
		pthread_t threads[2];
		struct race race;

		CHECK_INT(rte_dev_probe("hotplug_null8"), 0);
		race.dev = rte_hotplug_device_find("vdev", "hotplug_null8");
		pthread_barrier_init(&race.start, NULL, 2);
		CHECK_INT(pthread_create(&threads[0], NULL, remove_by_pointer, &race), 0);
		CHECK_INT(pthread_create(&threads[1], NULL, remove_and_attach_next, &race), 0);
		CHECK_INT(pthread_join(threads[0], NULL), 0);
		CHECK_INT(pthread_join(threads[1], NULL), 0);
		pthread_barrier_destroy(&race.start);
		CHECK_INT(race.attached, 0);
		CHECK((race.removed == 0) != (race.removed_by_name == 0));
		CHECK_INT(rte_eal_hotplug_remove("vdev", "hotplug_null9"), 0);
	}
	CHECK_INT(rte_eal_cleanup(), 0);
}

static int parse_slot(const char *name, void *user)
{
	(void)user;
	return strncmp(name, "slot", 4) == 0 ? 0 : -1;
}

static int scan_slots(struct rte_hotplug_bus *bus, const char *name, void *user)
{
	(void)user;
	for (char i = '0'; i < '3'; i++) {
		char slot[] = { 's', 'l', 'o', 't', i, '\0' };

		if (name == NULL || strcmp(name, slot) == 0)
			EXPECT(rte_hotplug_bus_add_device(bus, slot, -1) == 0);
	}
	return 0;
}

static int accept_device(struct rte_device *dev, void *user)
{
	(void)dev, (void)user;
	return 0;
}

static bool attached(const char *name)
{
	return rte_hotplug_device_driver(rte_hotplug_device_find("crate", name)) != NULL;
}

static void found_devices_are_attached_at_start(void)
{
	struct rte_hotplug_bus_options bus_options = {
		.size = sizeof(bus_options), .name = "crate", .parse = parse_slot, .scan = scan_slots,
	};
	struct rte_hotplug_driver_options driver_options = {
		.size = sizeof(driver_options), .name = "slot", .bus = "crate",
		.probe = accept_device,		.remove = accept_device,
	};
	const char *all[] = { "app", PREFIX, NULL };
	const char *allow[] = { "app", PREFIX, "-a", "crate:slot1,k=v", NULL };
	const char *block[] = { "app", PREFIX, "--block=slot1", "-b", "0000:00:00.0", NULL };
	struct rte_hotplug_driver *driver;
	struct rte_hotplug_bus *bus;

	CHECK_INT(rte_hotplug_bus_register(&bus_options, &bus), 0);
	CHECK_INT(rte_hotplug_driver_register(&driver_options, &driver), 0);
	CHECK_INT(init(3, all), 2);
	CHECK(attached("slot0") && attached("slot1") && attached("slot2"));
	CHECK_INT(rte_eal_cleanup(), 0);
	CHECK_INT(init(5, allow), 4);
	CHECK(!attached("slot0") && attached("slot1") && !attached("slot2"));
	CHECK_STR(rte_hotplug_device_devargs(rte_hotplug_device_find("crate", "slot1")), "k=v");
	CHECK_INT(rte_eal_cleanup(), 0);
	CHECK_INT(init(6, block), 5);
	CHECK(attached("slot0") && !attached("slot1") && attached("slot2"));
	CHECK_INT(rte_dev_probe("crate:slot1"), 0); /* asked for by name */
	CHECK_INT(rte_eal_cleanup(), 0);
	CHECK_INT(rte_hotplug_driver_unregister(driver), 0);
	CHECK_INT(rte_hotplug_bus_remove_device(bus, "slot0"), -ENODEV);
	CHECK_INT(rte_hotplug_bus_unregister(bus), 0);
}

static void structs_are_those_of_dpdk(void)
{
	const struct dpdk_device *dev;

	CHECK_INT(rte_dev_probe("hotplug_null4,a=b"), 0);
	dev = (const void *)rte_hotplug_device_find("vdev", "hotplug_null4");
	CHECK_INT(sizeof(*dev), 64);
	CHECK_STR(dev->name, "hotplug_null4");
	CHECK_STR(dev->bus->name, "vdev");
	CHECK_STR(dev->driver->name, "hotplug_null");
	CHECK(dev->driver->alias == NULL);
	CHECK_INT(dev->numa_node, -1);
	CHECK_STR(dev->devargs->name, "hotplug_null4");
	CHECK_STR(dev->devargs->args, "a=b");
	CHECK(dev->devargs->bus == dev->bus);
	CHECK_INT(rte_dev_probe("hotplug_null5,fail=1"), -1);
	dev = (const void *)rte_hotplug_device_find("vdev", "hotplug_null5");
	CHECK(dev->driver == NULL);
	CHECK_INT(rte_eal_cleanup(), 0);
}

static void drivers_of_the_application_on_vdev(void)
{
	struct rte_hotplug_driver_options options = {
		.size = sizeof(options), .name = "app_net", .alias = "app_alias", .bus = "vdev",
		.probe = accept_device,	 .remove = accept_device,
	};
	struct rte_hotplug_driver *driver;

	CHECK_INT(rte_hotplug_driver_register(&options, &driver), 0);
	CHECK_INT(rte_dev_probe("app_net0"), 0);
	CHECK_INT(rte_dev_probe("vdev:app_alias0"), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", "app_net0"), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", "app_alias0"), 0);
	CHECK_INT(rte_hotplug_driver_unregister(driver), 0);
	CHECK_INT(rte_dev_probe("app_net0"), -EFAULT);
	CHECK_INT(rte_dev_probe("bus=vdev,name=app_net0"), -ENOTSUP);
	CHECK_INT(rte_dev_probe("bus=vdev"), -ENODEV);
	CHECK_INT(rte_dev_probe("class=eth"), -EINVAL);
	CHECK_INT(rte_eal_cleanup(), 0);
}

static void nothing_of_dpdk_is_pretended(void)
{
	uint16_t port = 77;

	errno = 0;
	CHECK_INT(rte_mp_action_register("x", NULL), -1);
	CHECK_INT(errno, ENOTSUP);
	CHECK_INT(rte_eth_dev_attach("hotplug_null0", &port), -ENOTSUP);
	CHECK_INT(port, 77);
	CHECK_INT(rte_eth_dev_detach(0, NULL), -ENOTSUP);
	CHECK(strchr(rte_hotplug_version(), '.') != NULL);
}

static const struct test_case cases[] = {
	{ "the first call starts it", the_first_call_starts_it },
	{ "options of EAL", options_of_eal },
	{ "bad options", bad_options },
	{ "a failed probe at start is left", a_failed_probe_at_start_is_left },
	{ "a failed start keeps what there was", a_failed_start_keeps_what_there_was },
	{ "a stale pointer takes no other device", a_stale_pointer_takes_no_other_device },
	{ "found devices are attached at start", found_devices_are_attached_at_start },
	{ "structs are those of DPDK", structs_are_those_of_dpdk },
	{ "drivers of the application on vdev", drivers_of_the_application_on_vdev },
	{ "nothing of DPDK is pretended", nothing_of_dpdk_is_pretended },
};

int main(void)
{
	suite_name_group();
	return run_table(cases, sizeof(cases) / sizeof(cases[0]));
}
