/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI bus of the embedded runtime when functions go while drivers work with them. A resource is a
 * file: when it is cut off every access to its mapping is a true SIGBUS.
 */

#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "pci_suite.h"

/* How long is waited for what must come, in seconds. */
#define PATIENCE 20

static volatile char *bar;
static volatile char *small_bar;
static sem_t told;
static _Atomic int removals;
static _Atomic bool in_main_thread, detaches;
static pthread_t main_thread;

static void on_event(const char *name, enum rte_dev_event_type type, void *arg)
{
	(void)arg;
	EXPECT(type == RTE_DEV_EVENT_REMOVE && strcmp(name, FUNCTION) == 0);
	in_main_thread = pthread_equal(pthread_self(), main_thread) != 0;
	if (detaches)
		EXPECT(rte_eal_hotplug_remove("pci", name) == 0);
	removals++;
	sem_post(&told);
}

static void wait_told(void)
{
	struct timespec limit;
	int result;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += PATIENCE;
	while ((result = sem_timedwait(&told, &limit)) != 0 && errno == EINTR)
		;
	CHECK_INT(result, 0);
	CHECK(!in_main_thread);
}

static volatile char *map(struct rte_device *dev, uint32_t number)
{
	void *at = NULL;

	EXPECT(rte_hotplug_pci_map(dev, number, &at, NULL) == 0);
	return at;
}

static void map_it(struct rte_device *dev)
{
	bar = map(dev, 0);
}

static void set_up(void)
{
	pci_set_up();
	rte_dev_event_callback_unregister(NULL, on_event, (void *)-1);
	while (sem_trywait(&told) == 0)
		;
	removals = 0;
	detaches = false;
	driver.in_probe = map_it;
	CHECK_INT(rte_dev_event_callback_register(NULL, on_event, NULL), 0);
}

static void take_away(const char *resource)
{
	if (truncate(tree_path("devices/" FUNCTION "/%s", resource), 0) != 0)
		abort();
}

static void give_back(void)
{
	if (truncate(tree_path("devices/" FUNCTION "/resource0"), MEMORY_SIZE) != 0)
		abort();
}

/* The signal that ends a process which does this; 0: it lives. */
static int signal_of(void (*work)(void))
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		work();
		_exit(EXIT_SUCCESS);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void touch(void)
{
	(void)bar[0];
}

/* Memory of somebody else where the BAR was. */
static void touch_anothers(void)
{
	FILE *file = tmpfile();

	if (mmap((void *)(uintptr_t)bar, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fileno(file),
		 0) == MAP_FAILED)
		_exit(EXIT_FAILURE);
	(void)bar[0];
}

static void recovered_and_told_once(void)
{
	struct rte_device *dev;

	set_up();
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	for (int i = 1; i <= 3; i++) {
		give_back();
		dev = pci_attached("02:00.0");
		bar[1] = 'x';
		take_away("resource0");
		CHECK(bar[0] == 0 && bar[MEMORY_SIZE - 1] == 0);
		bar[MEMORY_SIZE - 1] = 'y';
		CHECK_INT(bar[MEMORY_SIZE - 1], 'y');
		wait_told();
		CHECK_INT(removals, i);
		CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_FAULT);
		CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_FAULT);
		CHECK_INT(pci_state("02:00.0"), RTE_HOTPLUG_DEVICE_FAULT);
		CHECK_INT(rte_dev_remove(dev), 0);
		CHECK_INT(pci_state(FUNCTION), -ENODEV);
	}
	CHECK_INT(pci_state(FUNCTION), -ENODEV);
	CHECK_INT(rte_dev_hotplug_handle_disable(), 0);
}

static void without_the_handling(void)
{
	set_up();
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	take_away("resource0");
	CHECK_INT(signal_of(touch), SIGBUS);
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	CHECK_INT(rte_dev_hotplug_handle_disable(), 0);
	CHECK_INT(signal_of(touch), 0);
	CHECK_INT(rte_dev_hotplug_handle_disable(), 0);
	CHECK_INT(signal_of(touch), SIGBUS);
	CHECK_INT(rte_eal_hotplug_remove("pci", FUNCTION), 0);
}

static void enabled_when_it_is_attached_already(void)
{
	set_up();
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	take_away("resource0");
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	touch();
	wait_told();
	CHECK_INT(rte_eal_hotplug_remove("pci", FUNCTION), 0);
}

static void attached_by_rte_eal_init(void)
{
	char *argv[] = { (char *)"suite", (char *)"--in-memory", NULL };

	set_up();
	CHECK(rte_eal_init(2, argv) >= 0);
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	take_away("resource0");
	touch();
	wait_told();
	CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_FAULT);
}

static void only_what_faults_is_replaced(void)
{
	struct rte_device *dev;

	set_up();
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	dev = pci_attached(FUNCTION);
	small_bar = map(dev, 4);
	take_away("resource4");
	CHECK_INT(small_bar[0], 0);
	wait_told();
	CHECK_INT(bar[0], '0');
	take_away("resource0");
	touch();
	CHECK_INT(rte_dev_remove(dev), 0);
}

/* Before the removal is told the driver maps more: it is told all the same. */
static void fault_and_map_more(struct rte_device *dev)
{
	bar = map(dev, 0);
	take_away("resource0");
	touch();
	small_bar = map(dev, 4);
}

static void a_fault_inside_of_probe(void)
{
	set_up();
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	driver.in_probe = fault_and_map_more;
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	wait_told();
	take_away("resource4");
	CHECK_INT(small_bar[0], 0);
	CHECK_INT(rte_eal_hotplug_remove("pci", FUNCTION), 0);
}

static void touch_it(struct rte_device *dev)
{
	(void)dev;
	touch();
	EXPECT(bar[0] == 0);
}

static void a_fault_inside_of_remove(void)
{
	set_up();
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	driver.in_remove = touch_it;
	take_away("resource0");
	CHECK_INT(rte_eal_hotplug_remove("pci", FUNCTION), 0);
	CHECK_INT(driver.removes, 1);
}

static void a_remove_that_fails(void)
{
	set_up();
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	driver.remove_result = -EBUSY;
	CHECK_INT(rte_eal_hotplug_remove("pci", FUNCTION), -EBUSY);
	take_away("resource0");
	touch();
	wait_told();
	CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_FAULT);
	driver.remove_result = 0;
	CHECK_INT(rte_eal_hotplug_remove("pci", FUNCTION), 0);
}

/* The place of a mapping that has ended is anybody's. */
static void nothing_stays_published(void)
{
	set_up();
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	CHECK_INT(rte_eal_hotplug_remove("pci", FUNCTION), 0);
	CHECK_INT(signal_of(touch_anothers), SIGBUS);
	driver.probe_result = -EIO;
	CHECK_INT(rte_dev_probe(FUNCTION), -EIO);
	CHECK_INT(signal_of(touch_anothers), SIGBUS);
}

static sem_t touched;

/* A driver waits for those who use the memory. */
static void wait_touched(struct rte_device *dev)
{
	(void)dev;
	while (sem_wait(&touched) != 0)
		;
}

static void the_callback_detaches(void)
{
	set_up();
	sem_init(&touched, 0, 0);
	driver.in_remove = wait_touched;
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	detaches = true;
	take_away("resource0");
	touch();
	sem_post(&touched);
	wait_told();
	CHECK_INT(driver.removes, 1);
	CHECK_INT(pci_state(FUNCTION), -ENODEV);
	CHECK(!tree_is_mapped(tree_path("devices/" FUNCTION "/resource0")));
}

#define THREADS 4

static pthread_barrier_t barrier;

static void *touch_together(void *page)
{
	pthread_barrier_wait(&barrier);
	return (void *)(uintptr_t)bar[(uintptr_t)page % 2 * PAGE];
}

static void several_threads_at_once(void)
{
	pthread_t threads[THREADS];
	void *seen;

	set_up();
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	CHECK_INT(pthread_barrier_init(&barrier, NULL, THREADS), 0);
	for (int i = 1; i <= suite_scaled(100); i++) {
		give_back();
		CHECK_INT(rte_dev_probe(FUNCTION), 0);
		take_away("resource0");
		for (uintptr_t t = 0; t < THREADS; t++)
			CHECK_INT(pthread_create(&threads[t], NULL, touch_together, (void *)t), 0);
		for (int t = 0; t < THREADS; t++) {
			pthread_join(threads[t], &seen);
			CHECK(seen == NULL);
		}
		wait_told();
		CHECK_INT(removals, i);
		CHECK_INT(rte_eal_hotplug_remove("pci", FUNCTION), 0);
	}
	pthread_barrier_destroy(&barrier);
}

static const struct test_case cases[] = {
	{ "recovered, and told once", recovered_and_told_once },
	{ "without the handling", without_the_handling },
	{ "enabled when it is attached already", enabled_when_it_is_attached_already },
	{ "attached by rte_eal_init", attached_by_rte_eal_init },
	{ "only what faults is replaced", only_what_faults_is_replaced },
	{ "a fault inside of probe", a_fault_inside_of_probe },
	{ "a fault inside of remove", a_fault_inside_of_remove },
	{ "a remove that fails", a_remove_that_fails },
	{ "nothing stays published", nothing_stays_published },
	{ "the callback detaches", the_callback_detaches },
	{ "several threads at once", several_threads_at_once },
};

int main(void)
{
	struct rlimit no_core = { 0 };

	setrlimit(RLIMIT_CORE, &no_core);
	/* Of a sanitizer there is one already, which exits instead. */
	signal(SIGBUS, SIG_DFL);
	main_thread = pthread_self();
	sem_init(&told, 0, 0);
	return pci_run(cases, sizeof(cases) / sizeof(cases[0]));
}
