/* SPDX-License-Identifier: BSD-3-Clause */
/* Many threads at once: on one device, on different ones, and in a circle. */

#include <pthread.h>
#include <semaphore.h>

#include "suite.h"

#define THREADS 8
#define ROUNDS 300

struct worker {
	pthread_t thread;
	pthread_barrier_t *start;
	struct rte_device *dev;
	char name[64];
	int succeeded, unexpected;
};

static void run_workers(struct worker *workers, int count, void *(*run)(void *))
{
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, (unsigned int)count);
	for (int i = 0; i < count; i++) {
		workers[i].start = &start;
		CHECK_INT(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
	}
	for (int i = 0; i < count; i++)
		CHECK_INT(pthread_join(workers[i].thread, NULL), 0);
	pthread_barrier_destroy(&start);
}

static void *remove_same(void *arg)
{
	struct worker *worker = arg;
	int result;

	pthread_barrier_wait(worker->start);
	result = rte_dev_remove(worker->dev);
	if (result == 0)
		worker->succeeded++;
	else if (result != -ENODEV && result != -ENOENT)
		worker->unexpected++;
	return NULL;
}

static void one_of_many_removes_wins(void)
{
	for (int round = 0; round < 50; round++) {
		struct worker workers[THREADS] = { 0 };
		int winners = 0;

		CHECK_INT(rte_dev_probe(NULL_DEVICE(0)), 0);
		for (int i = 0; i < THREADS; i++)
			workers[i].dev = rte_hotplug_device_find("vdev", NULL_DEVICE(0));
		run_workers(workers, THREADS, remove_same);
		for (int i = 0; i < THREADS; i++) {
			winners += workers[i].succeeded;
			CHECK_INT(workers[i].unexpected, 0);
		}
		CHECK_INT(winners, 1);
		CHECK(suite_is_gone(NULL_DEVICE(0)));
	}
}

/* Readers look at the device while it comes and goes. */
static _Atomic bool readers_stop;

static void *read_device(void *arg)
{
	struct worker *worker = arg;

	pthread_barrier_wait(worker->start);
	while (!readers_stop) {
		struct rte_device *dev = rte_hotplug_device_find("vdev", NULL_DEVICE(0));
		int state = rte_hotplug_device_state(dev);

		rte_hotplug_device_driver(dev);
		rte_hotplug_device_devargs(dev);
		rte_hotplug_device_numa_node(dev);
		rte_hotplug_device_next(NULL, dev);
		if (state != -EINVAL && state != -ENODEV && state != RTE_HOTPLUG_DEVICE_FOUND &&
		    state != RTE_HOTPLUG_DEVICE_PROBED)
			worker->unexpected++;
		sched_yield();
	}
	return NULL;
}

static void *change_device(void *arg)
{
	struct worker *worker = arg;

	pthread_barrier_wait(worker->start);
	for (int i = 0; i < ROUNDS; i++) {
		if (rte_eal_hotplug_add("vdev", NULL_DEVICE(0), "size=64") != 0 ||
		    rte_eal_hotplug_remove("vdev", NULL_DEVICE(0)) != 0)
			worker->unexpected++;
	}
	readers_stop = true;
	return NULL;
}

static void devices_are_read_while_they_go(void)
{
	struct worker workers[4] = { 0 };
	pthread_barrier_t start;

	readers_stop = false;
	pthread_barrier_init(&start, NULL, 4);
	for (int i = 0; i < 4; i++) {
		workers[i].start = &start;
		CHECK_INT(pthread_create(&workers[i].thread, NULL,
					 i == 0 ? change_device : read_device, &workers[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		CHECK_INT(pthread_join(workers[i].thread, NULL), 0);
		CHECK_INT(workers[i].unexpected, 0);
	}
	pthread_barrier_destroy(&start);
}

static void *attach_detach(void *arg)
{
	struct worker *worker = arg;

	pthread_barrier_wait(worker->start);
	for (int i = 0; i < ROUNDS; i++) {
		if (rte_eal_hotplug_add("vdev", worker->name, "") != 0 ||
		    rte_eal_hotplug_remove("vdev", worker->name) != 0)
			worker->unexpected++;
		else
			worker->succeeded++;
	}
	return NULL;
}

static void different_devices_at_once(void)
{
	struct worker workers[THREADS] = { 0 };

	for (int i = 0; i < THREADS; i++)
		snprintf(workers[i].name, sizeof(workers[i].name), "%s%d", NULL_DEVICE(1), i);
	run_workers(workers, THREADS, attach_detach);
	for (int i = 0; i < THREADS; i++)
		CHECK_INT(workers[i].succeeded, ROUNDS);
	CHECK_INT(suite_attached("vdev"), 0);
}

/* Either call may find the device in the other state, but nothing else may happen. */
static void *attach_detach_same(void *arg)
{
	struct worker *worker = arg;

	pthread_barrier_wait(worker->start);
	for (int i = 0; i < ROUNDS; i++) {
		int added = rte_dev_probe(worker->name);
		int removed = rte_eal_hotplug_remove("vdev", worker->name);

		if (added != 0 || (removed != 0 && removed != -ENOENT && removed != -ENODEV &&
				   removed != -EINVAL))
			worker->unexpected++;
	}
	return NULL;
}

static void the_same_device_at_once(void)
{
	struct worker workers[THREADS] = { 0 };

	for (int i = 0; i < THREADS; i++)
		snprintf(workers[i].name, sizeof(workers[i].name), "%s", NULL_DEVICE(2));
	run_workers(workers, THREADS, attach_detach_same);
	for (int i = 0; i < THREADS; i++)
		CHECK_INT(workers[i].unexpected, 0);
	CHECK(suite_is_gone(NULL_DEVICE(2)));
}

/* A bus of ours whose driver attaches a second device from inside its probe. */
static sem_t probing, may_nest;
static int nested_result[2];

static int parse_pair(const char *name, void *user)
{
	(void)user;
	return strncmp(name, "pair", 4) == 0 ? 0 : -EINVAL;
}

static int scan_pair(struct rte_hotplug_bus *bus, const char *name, void *user)
{
	(void)user;
	return name != NULL ? rte_hotplug_bus_add_device(bus, name, -1) : 0;
}

static int probe_pair(struct rte_device *dev, void *user)
{
	static _Thread_local bool nested;
	int self = rte_hotplug_device_name(dev)[4] - '0';

	(void)user;
	if (nested)
		return 0;
	nested = true;
	sem_post(&probing);
	while (sem_wait(&may_nest) != 0)
		;
	nested_result[self] = rte_dev_probe(self == 0 ? "pair:pair1" : "pair:pair0");
	nested = false;
	return 0;
}

static int remove_pair(struct rte_device *dev, void *user)
{
	(void)dev, (void)user;
	return 0;
}

static void *probe_named(void *arg)
{
	struct worker *worker = arg;

	worker->unexpected = rte_dev_probe(worker->name);
	return NULL;
}

/* Two probes that each attach the other's device: one is refused instead of both hanging. */
static void a_circle_ends(void)
{
	struct rte_hotplug_bus_options bus_options = {
		.size = sizeof(bus_options), .name = "pair", .parse = parse_pair, .scan = scan_pair,
	};
	struct rte_hotplug_driver_options driver_options = {
		.size = sizeof(driver_options), .name = "pair", .bus = "pair",
		.probe = probe_pair,		.remove = remove_pair,
	};
	struct worker workers[2] = { { .name = "pair:pair0" }, { .name = "pair:pair1" } };
	struct rte_hotplug_driver *driver;
	struct rte_hotplug_bus *bus;

	sem_init(&probing, 0, 0);
	sem_init(&may_nest, 0, 0);
	CHECK_INT(rte_hotplug_bus_register(&bus_options, &bus), 0);
	CHECK_INT(rte_hotplug_driver_register(&driver_options, &driver), 0);
	for (int i = 0; i < 2; i++) {
		CHECK_INT(pthread_create(&workers[i].thread, NULL, probe_named, &workers[i]), 0);
		while (sem_wait(&probing) != 0)
			;
	}
	sem_post(&may_nest);
	sem_post(&may_nest);
	for (int i = 0; i < 2; i++) {
		CHECK_INT(pthread_join(workers[i].thread, NULL), 0);
		CHECK_INT(workers[i].unexpected, 0);
	}
	CHECK((nested_result[0] == -EDEADLK) != (nested_result[1] == -EDEADLK));
	CHECK_INT(rte_eal_hotplug_remove("pair", "pair0"), 0);
	CHECK_INT(rte_eal_hotplug_remove("pair", "pair1"), 0);
	CHECK_INT(rte_hotplug_driver_unregister(driver), 0);
	CHECK_INT(rte_hotplug_bus_unregister(bus), 0);
	sem_destroy(&probing);
	sem_destroy(&may_nest);
}

static const struct test_case cases[] = {
	{ "one of many removes wins", one_of_many_removes_wins },
	{ "devices are read while they go", devices_are_read_while_they_go },
	{ "different devices at once", different_devices_at_once },
	{ "the same device at once", the_same_device_at_once },
	{ "a circle ends", a_circle_ends },
};

int main(void)
{
	suite_start();
	suite_use_all_cpus();
	return suite_run(cases, sizeof(cases) / sizeof(cases[0]));
}
