/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Beside DPDK's own lock: rte_vdev_init runs a driver under the lock of the vdev bus, and that driver
 * attaches a device with us while another thread of ours scans that bus. Inside DPDK 22.11 only: the
 * driver struct is that version's.
 */

#include <pthread.h>
#include <semaphore.h>

#include <rte_bus_vdev.h>

#include "suite.h"
#include "vdev_driver.h"

static sem_t probing, scanning;
static pthread_t scanner;
static int nested_result = -1;

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem) != 0)
		;
}

/* Runs in each vdev scan before it takes the lock of the bus. */
static void on_scan(void *arg)
{
	(void)arg;
	if (pthread_equal(pthread_self(), scanner))
		sem_post(&scanning);
}

static int probe_and_attach(struct rte_vdev_device *vdev)
{
	(void)vdev;
	sem_post(&probing);
	wait_for(&scanning);
	nested_result = rte_eal_hotplug_add("vdev", "net_null6", "");
	return nested_result;
}

static int remove_nothing(struct rte_vdev_device *vdev)
{
	(void)vdev;
	return 0;
}

static void *attach_another(void *arg)
{
	int *result = arg;

	wait_for(&probing);
	*result = rte_dev_probe("net_null5");
	return NULL;
}

static void a_driver_attaches_under_the_lock_of_vdev(void)
{
	static struct rte_vdev_driver driver = {
		.driver = { .name = "under_lock" },
		.probe = probe_and_attach,
		.remove = remove_nothing,
	};
	int result = -1;

	sem_init(&probing, 0, 0);
	sem_init(&scanning, 0, 0);
	rte_vdev_register(&driver);
	CHECK_INT(pthread_create(&scanner, NULL, attach_another, &result), 0);
	CHECK_INT(rte_vdev_add_custom_scan(on_scan, NULL), 0);
	CHECK_INT(rte_vdev_init("under_lock0", ""), 0);
	CHECK_INT(pthread_join(scanner, NULL), 0);
	CHECK_INT(rte_vdev_remove_custom_scan(on_scan, NULL), 0);
	CHECK_INT(result, 0);
	CHECK_INT(nested_result, 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", "net_null5"), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", "net_null6"), 0);
	CHECK_INT(rte_vdev_uninit("under_lock0"), 0);
	rte_vdev_unregister(&driver);
	sem_destroy(&probing);
	sem_destroy(&scanning);
}

static sem_t removing, may_go_on;
static int inner_result = -1;

static int probe_nothing(struct rte_vdev_device *vdev)
{
	(void)vdev;
	return 0;
}

/* Runs under the lock of vdev, which the other thread comes to wait for. */
static int remove_and_detach(struct rte_vdev_device *vdev)
{
	(void)vdev;
	sem_post(&removing);
	wait_for(&may_go_on);
	inner_result = rte_eal_hotplug_remove("vdev", "net_null1");
	return 0;
}

static void *detach_inner(void *arg)
{
	int *result = arg;

	wait_for(&removing);
	sem_post(&may_go_on);
	*result = rte_eal_hotplug_remove("vdev", "net_null1");
	return NULL;
}

/* As often as it takes to meet: which of the two is first is chance. */
static void a_driver_detaches_under_the_lock_of_vdev(void)
{
	static struct rte_vdev_driver driver = {
		.driver = { .name = "outer" },
		.probe = probe_nothing,
		.remove = remove_and_detach,
	};

	sem_init(&removing, 0, 0);
	sem_init(&may_go_on, 0, 0);
	rte_vdev_register(&driver);
	for (int round = 0; round < 20; round++) {
		pthread_t thread;
		int result = -1;

		CHECK_INT(rte_dev_probe("outer0"), 0);
		CHECK_INT(rte_dev_probe("net_null1"), 0);
		CHECK_INT(pthread_create(&thread, NULL, detach_inner, &result), 0);
		CHECK_INT(rte_eal_hotplug_remove("vdev", "outer0"), 0);
		CHECK_INT(pthread_join(thread, NULL), 0);
		CHECK((result == 0) != (inner_result == 0));
		CHECK(rte_hotplug_device_find("vdev", "net_null1") == NULL);
	}
	rte_vdev_unregister(&driver);
	sem_destroy(&removing);
	sem_destroy(&may_go_on);
}

static const struct test_case cases[] = {
	{ "a driver detaches under the lock of vdev", a_driver_detaches_under_the_lock_of_vdev },
	{ "a driver attaches under the lock of vdev", a_driver_attaches_under_the_lock_of_vdev },
};

int main(void)
{
	suite_start();
	suite_use_all_cpus();
	return suite_run(cases, sizeof(cases) / sizeof(cases[0]));
}
