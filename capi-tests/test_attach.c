/* SPDX-License-Identifier: BSD-3-Clause */
/* Attach and detach, the same on the embedded runtime and inside DPDK. */

#include "suite.h"

#ifdef SUITE_HOSTED
#include <rte_devargs.h>
#endif

/* The state of a device that was detached. */
static int state_of_gone(void)
{
	return suite_keeps_devices() ? RTE_HOTPLUG_DEVICE_FOUND : -ENODEV;
}

static void attach_and_detach_by_devargs(void)
{
	const char *name = NULL_DEVICE(0);
	struct rte_device *dev;

	CHECK_INT(rte_dev_probe(name), 0);
	dev = rte_hotplug_device_find("vdev", name);
	CHECK(dev != NULL);
	CHECK_STR(rte_hotplug_device_name(dev), name);
	CHECK_STR(rte_hotplug_device_bus(dev), "vdev");
	CHECK(strncmp(name, rte_hotplug_device_driver(dev),
		      strlen(rte_hotplug_device_driver(dev))) == 0);
	CHECK_STR(rte_hotplug_device_devargs(dev), "");
	CHECK_INT(rte_hotplug_device_numa_node(dev), suite_hosted() ? 0 : -1);
	CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_PROBED);
	CHECK_INT(rte_dev_remove(dev), 0);
	CHECK(suite_is_gone(name));
}

static void attach_and_detach_by_names(void)
{
	const char *name = NULL_DEVICE(1);
	struct rte_device *dev;

	CHECK_INT(rte_eal_hotplug_add("vdev", name, "size=128"), 0);
	dev = rte_hotplug_device_find("vdev", name);
	CHECK(dev != NULL);
	CHECK_STR(rte_hotplug_device_devargs(dev), "size=128");
	CHECK_INT(rte_eal_hotplug_remove("vdev", name), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", name), suite_keeps_devices() ? -ENOENT : -EINVAL);
	CHECK_INT(rte_eal_hotplug_remove("nobus", name), -ENOENT);
}

static struct rte_hotplug_state_statistics states(void)
{
	struct rte_hotplug_state_statistics now = { .size = sizeof(now) };

	CHECK_INT(rte_hotplug_state_statistics_get(&now), 0);
	return now;
}

static void steps_are_counted(void)
{
	const char *name = NULL_DEVICE(6);
	struct rte_hotplug_state_statistics before = states(), after;

	CHECK_INT(rte_hotplug_device_state_by_name("vdev", name), -ENODEV);
	CHECK_INT(rte_dev_probe(name), 0);
	CHECK_INT(rte_hotplug_device_state_by_name("vdev", name), RTE_HOTPLUG_DEVICE_PROBED);
	CHECK_INT(rte_dev_probe(name), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", name), 0);
	CHECK_INT(rte_hotplug_device_state_by_name("vdev", name), state_of_gone());
	after = states();
	CHECK_INT(after.parsed, before.parsed + 1);
	CHECK_INT(after.found, before.found + 1);
	CHECK_INT(after.probed, before.probed + 1);
	CHECK_INT(after.gone, before.gone + 1);
	CHECK_INT(after.bound, before.bound);
	CHECK_INT(after.faulted, before.faulted);
}

#ifdef SUITE_HOSTED
static void states_before_an_attach(void)
{
	const char *name = NULL_DEVICE(7), *other = NULL_DEVICE(8);

	CHECK_INT(rte_devargs_add(RTE_DEVTYPE_VIRTUAL, name), 0);
	CHECK_INT(rte_hotplug_device_state_by_name("vdev", name), RTE_HOTPLUG_DEVICE_PARSED);
	/* The bus looks for all. */
	CHECK_INT(rte_dev_probe(other), 0);
	CHECK_INT(rte_hotplug_device_state_by_name("vdev", name), RTE_HOTPLUG_DEVICE_FOUND);
	CHECK_INT(rte_dev_probe(name), 0);
	CHECK_INT(rte_hotplug_device_state_by_name("vdev", name), RTE_HOTPLUG_DEVICE_PROBED);
	CHECK_INT(rte_eal_hotplug_remove("vdev", name), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", other), 0);
	CHECK_INT(rte_hotplug_device_state_by_name("vdev", name), state_of_gone());
}
#endif

static void attaching_twice_is_a_success(void)
{
	const char *name = NULL_DEVICE(2);

	CHECK_INT(rte_dev_probe(name), 0);
	CHECK_INT(rte_dev_probe(name), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", name), 0);
}

static void a_stale_device_is_refused(void)
{
	const char *name = NULL_DEVICE(3);
	struct rte_device *dev;

	CHECK_INT(rte_dev_probe(name), 0);
	dev = rte_hotplug_device_find("vdev", name);
	CHECK_INT(rte_dev_remove(dev), 0);
	CHECK_INT(rte_dev_remove(dev), suite_keeps_devices() ? -ENOENT : -ENODEV);
	CHECK_INT(rte_dev_remove((struct rte_device *)&dev), -ENODEV);
	CHECK((rte_hotplug_device_name(dev) != NULL) == suite_keeps_devices());
	CHECK_INT(rte_hotplug_device_state(dev), state_of_gone());
}

static void all_devices_are_iterated(void)
{
	CHECK_INT(rte_dev_probe(NULL_DEVICE(4)), 0);
	CHECK_INT(rte_dev_probe(NULL_DEVICE(5)), 0);
	CHECK_INT(suite_attached("vdev"), 2);
	CHECK(rte_hotplug_device_next("nobus", NULL) == NULL);
	suite_detach(NULL_DEVICE(4));
	suite_detach(NULL_DEVICE(5));
	CHECK_INT(suite_attached(NULL), 0);
}

static void bad_strings_are_refused(void)
{
	int empty = rte_dev_probe("");
	char name[80] = { 0 };

	memset(name, 'n', sizeof(name) - 1);
	/* DPDK's auxiliary bus, which 20.11 and the fake EAL have not, takes the empty name and then does not find it. */
	CHECK(empty == -EFAULT || (suite_hosted() && empty == -ENODEV));
	CHECK_INT(rte_dev_probe("vdev"), -EFAULT);
	CHECK_INT(rte_dev_probe("no_such_driver0"), -EFAULT);
	CHECK_INT(rte_dev_probe("bus=nobus,name=x"), -EFAULT);
	CHECK_INT(rte_dev_probe("bus"), -EFAULT);
	CHECK_INT(rte_dev_probe(name), -EINVAL);
	CHECK_INT(suite_attached(NULL), 0);
}

static void null_is_refused(void)
{
	CHECK_INT(rte_dev_probe(NULL), -EINVAL);
	CHECK_INT(rte_dev_remove(NULL), -EINVAL);
	CHECK_INT(rte_eal_hotplug_add(NULL, "a", ""), -EINVAL);
	CHECK_INT(rte_eal_hotplug_add("vdev", NULL, ""), -EINVAL);
	CHECK_INT(rte_eal_hotplug_remove(NULL, "a"), -EINVAL);
	CHECK_INT(rte_eal_hotplug_remove("vdev", NULL), -EINVAL);
	CHECK_INT(rte_eth_dev_attach(NULL, NULL), -EINVAL);
	CHECK(rte_hotplug_device_find(NULL, NULL) == NULL);
	CHECK(rte_hotplug_device_name(NULL) == NULL);
	CHECK(rte_hotplug_device_devargs(NULL) == NULL);
	CHECK_INT(rte_hotplug_device_numa_node(NULL), -1);
	CHECK_INT(rte_hotplug_device_state(NULL), -EINVAL);
	CHECK_INT(rte_hotplug_device_state_by_name(NULL, "a"), -EINVAL);
	CHECK_INT(rte_hotplug_device_state_by_name("vdev", NULL), -EINVAL);
	CHECK_INT(rte_hotplug_device_state_by_name("vdev", "no_such_device"), -ENODEV);
	CHECK_INT(rte_hotplug_device_state_by_name("no_such_bus", "a"), -ENODEV);
	CHECK_INT(rte_hotplug_state_statistics_get(NULL), -EINVAL);
	CHECK_INT(rte_hotplug_bus_register(NULL, NULL), -EINVAL);
	CHECK_INT(rte_hotplug_bus_unregister(NULL), -EINVAL);
	CHECK_INT(rte_hotplug_driver_register(NULL, NULL), -EINVAL);
	CHECK_INT(rte_hotplug_driver_unregister(NULL), -EINVAL);
}

static void no_arguments_is_fine(void)
{
	CHECK_INT(rte_eal_hotplug_add("vdev", NULL_DEVICE(6), NULL), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", NULL_DEVICE(6)), 0);
}

/* With other processes: mp/test_group_*.c. */
static void nobody_else_is_in_the_group(void)
{
	struct rte_hotplug_statistics statistics = { .size = sizeof(statistics) };
	struct rte_hotplug_peer peers[2];

	CHECK_INT(rte_hotplug_peers(NULL, 0), 0);
	CHECK_INT(rte_hotplug_peers(peers, 2), 0);
	CHECK_INT(rte_hotplug_peers(NULL, 1), -EINVAL);
	CHECK_INT(rte_hotplug_statistics_get(&statistics), 0);
	CHECK_INT((int)statistics.joins, 0);
	CHECK_INT((int)statistics.bad_frames, 0);
	CHECK_INT(rte_hotplug_statistics_get(NULL), -EINVAL);
	statistics.size--;
	CHECK_INT(rte_hotplug_statistics_get(&statistics), -EINVAL);
}

static void timeouts_are_checked_and_kept(void)
{
	struct rte_hotplug_timeouts before = { .size = sizeof(before) };
	struct rte_hotplug_timeouts set, now = { .size = sizeof(now) };

	CHECK_INT(rte_hotplug_timeouts_get(&before), 0);
	CHECK_INT(before.liveness_ms, 2000);
	CHECK_INT(before.operation_ms, 60000);
	CHECK_INT(before.stock_peer_ms, 5000);
	set = before;
	set.liveness_ms = 123;
	CHECK_INT(rte_hotplug_timeouts_set(&set), 0);
	set.operation_ms = 9;
	CHECK_INT(rte_hotplug_timeouts_set(&set), -EINVAL);
	set.operation_ms = 3600001;
	CHECK_INT(rte_hotplug_timeouts_set(&set), -EINVAL);
	CHECK_INT(rte_hotplug_timeouts_get(&now), 0);
	CHECK_INT(now.liveness_ms, 123);
	CHECK_INT(now.operation_ms, 60000);
	set.size = 0;
	CHECK_INT(rte_hotplug_timeouts_set(&set), -EINVAL);
	CHECK_INT(rte_hotplug_timeouts_set(NULL), -EINVAL);
	CHECK_INT(rte_hotplug_timeouts_get(NULL), -EINVAL);
	CHECK_INT(rte_hotplug_timeouts_set(&before), 0);
}

static const struct test_case cases[] = {
	{ "attach and detach by devargs", attach_and_detach_by_devargs },
	{ "attach and detach by names", attach_and_detach_by_names },
	{ "steps are counted", steps_are_counted },
#ifdef SUITE_HOSTED
	{ "states before an attach", states_before_an_attach },
#endif
	{ "attaching twice is a success", attaching_twice_is_a_success },
	{ "a stale device is refused, not read", a_stale_device_is_refused },
	{ "all devices are iterated", all_devices_are_iterated },
	{ "bad strings are refused", bad_strings_are_refused },
	{ "NULL is refused", null_is_refused },
	{ "no arguments is fine", no_arguments_is_fine },
	{ "nobody else is in the group", nobody_else_is_in_the_group },
	{ "timeouts are checked and kept", timeouts_are_checked_and_kept },
};

int main(void)
{
	suite_start();
	return suite_run(cases, sizeof(cases) / sizeof(cases[0]));
}
