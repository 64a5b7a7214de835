/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is different from DPDK 26.07 on, inside the fake EAL: drivers are asked one after another, a device
 * that is probed shows its driver, one that was detached stays on its bus.
 *
 * With an argument: as a primary process, with room for others.
 */

#include <semaphore.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "fake_eal.h"

#include "../pci_tree.h"
#include "../suite.h"

/* So long a test waits for what must happen, in seconds. */
#define PATIENCE 60

static struct rte_device *find(const char *bus, const char *name)
{
	struct rte_device *dev = rte_hotplug_device_find(bus, name);

	CHECK(dev != NULL);
	return dev;
}

static int attach(const char *name, const char *arguments)
{
	return rte_eal_hotplug_add("vdev", name, arguments);
}

static int detach(const char *name)
{
	return rte_eal_hotplug_remove("vdev", name);
}

static void check_free(struct rte_device *dev)
{
	CHECK(dev->driver == NULL);
	CHECK(rte_hotplug_device_driver(dev) == NULL);
	CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_FOUND);
}

static void check_held(struct rte_device *dev, const char *driver)
{
	CHECK(dev->driver != NULL);
	CHECK_STR(dev->driver->name, driver);
	CHECK_STR(rte_hotplug_device_driver(dev), driver);
	CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_PROBED);
}

static void wait_for(sem_t *semaphore)
{
	struct timespec limit;
	int result;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += PATIENCE;
	while ((result = sem_timedwait(semaphore, &limit)) != 0 && errno == EINTR)
		;
	CHECK_INT(result, 0);
}

static void a_detached_device_stays(void)
{
	struct rte_device *dev;
	int probes = fake_seen.probes;

	CHECK_INT(attach("net_null0", "a=1"), 0);
	dev = find("vdev", "net_null0");
	check_held(dev, "net_null");
	CHECK_INT(attach("net_null0", "a=2"), 0);
	CHECK_INT(fake_seen.probes, probes + 1);
	CHECK_STR(rte_hotplug_device_devargs(dev), "a=2");
	CHECK_INT(rte_dev_remove(dev), 0);
	check_free(dev);
	CHECK(find("vdev", "net_null0") == dev);
	CHECK_INT(rte_dev_remove(dev), -ENOENT);
	CHECK_INT(detach("net_null0"), -ENOENT);
	CHECK_INT(detach("net_null00"), -EINVAL);
	CHECK_INT(attach("net_null0", "a=3"), 0);
	CHECK(find("vdev", "net_null0") == dev);
	check_held(dev, "net_null");
	CHECK_STR(rte_hotplug_device_devargs(dev), "a=3");
	CHECK_INT(detach("net_null0"), 0);
}

static void the_next_driver_is_asked(void)
{
	int refusals = fake_seen.refusals;

	CHECK_INT(attach("net_pair0", ""), 0);
	CHECK_INT(fake_seen.refusals, refusals + 1);
	check_held(find("vdev", "net_pair0"), "net_taker");
	CHECK_INT(detach("net_pair0"), 0);
	CHECK_INT(attach("net_pair0", "fail=5"), -5);
	check_free(find("vdev", "net_pair0"));
	CHECK_INT(attach("net_pair0", "positive=5"), -ENOTSUP);
	check_free(find("vdev", "net_pair0"));
	CHECK_INT(fake_seen.refusals, refusals + 4);
}

static void no_driver_takes_it(void)
{
	CHECK_INT(attach("net_picky0", ""), -ENOTSUP);
	check_free(find("vdev", "net_picky0"));
	CHECK_INT(detach("net_picky0"), -ENOENT);
}

static void a_failed_device_stays_without_driver(void)
{
	struct rte_device *dev;

	CHECK_INT(attach("net_null1", "fail=5"), -5);
	dev = find("vdev", "net_null1");
	check_free(dev);
	CHECK_INT(rte_dev_remove(dev), -ENOENT);
	/* The driver's own. */
	CHECK_INT(attach("net_null1", "fail=17"), -EEXIST);
	check_free(dev);
	CHECK_INT(attach("net_null1", ""), 0);
	CHECK(find("vdev", "net_null1") == dev);
	check_held(dev, "net_null");
	CHECK_INT(detach("net_null1"), 0);
}

static void a_failed_remove_keeps_the_driver(void)
{
	CHECK_INT(attach("net_null2", "rmfail=5"), 0);
	CHECK_INT(detach("net_null2"), -5);
	check_held(find("vdev", "net_null2"), "net_null");
	CHECK_INT(attach("net_null2", "rmpositive=5"), 0);
	CHECK_INT(detach("net_null2"), -ENOENT);
	check_held(find("vdev", "net_null2"), "net_null");
	CHECK_INT(attach("net_null2", ""), 0);
	CHECK_INT(detach("net_null2"), 0);
	check_free(find("vdev", "net_null2"));
}

static void a_bus_that_probes_again(void)
{
	struct rte_device *dev = find("pci", FAKE_PCI_AGAIN);
	int probes = fake_seen.probes;

	check_free(dev);
	CHECK_INT(rte_dev_probe(FAKE_PCI_AGAIN), 0);
	CHECK_INT(rte_dev_probe("pci:" FAKE_PCI_AGAIN ",a=1"), 0);
	CHECK_INT(fake_seen.probes, probes + 2);
	CHECK_INT(rte_dev_probe(FAKE_PCI_AGAIN ",fail=5"), -5);
	check_held(dev, "net_again");
	CHECK_INT(rte_dev_remove(dev), 0);
	check_free(dev);
	CHECK_INT(rte_dev_probe(FAKE_PCI_AGAIN ",fail=5"), -5);
	check_free(dev);
}

static void a_driver_that_does_not(void)
{
	int probes = fake_seen.probes;

	CHECK_INT(rte_dev_probe(FAKE_PCI_ONCE), 0);
	CHECK_INT(rte_dev_probe(FAKE_PCI_ONCE), 0);
	CHECK_INT(fake_seen.probes, probes + 1);
	CHECK_INT(rte_eal_hotplug_remove("pci", FAKE_PCI_ONCE), 0);
	CHECK_INT(rte_eal_hotplug_remove("pci", FAKE_PCI_ONCE), -ENOENT);
}

static void a_bus_that_cannot(void)
{
	static const struct rte_driver driver = { .name = "built in" };
	struct rte_device *dev = find("fixed", "fixed0");

	CHECK_INT(rte_dev_probe("fixed:fixed0"), -ENOTSUP);
	CHECK_INT(rte_dev_remove(dev), -ENOENT);
	dev->driver = &driver;
	CHECK_INT(rte_dev_remove(dev), -ENOTSUP);
	CHECK_STR(rte_hotplug_device_driver(dev), "built in");
	dev->driver = NULL;
}

static void calls_inside_of_a_probe(void)
{
	CHECK_INT(attach("net_null3", "inside=1"), 0);
	CHECK_INT(fake_seen.inside, -EEXIST);
	check_held(find("vdev", "net_null3"), "net_null");
	CHECK_INT(detach("net_null3"), 0);
	CHECK_INT(attach("net_null3", "inside=2"), 0);
	CHECK_INT(fake_seen.inside, -ENOENT);
	check_held(find("vdev", "net_null3"), "net_null");
	CHECK_INT(detach("net_null3"), 0);
	CHECK_INT(attach("net_null3", "inside=3"), 0);
	CHECK_INT(fake_seen.inside, 0);
	check_held(find("vdev", "net_null_inner"), "net_null");
	CHECK_INT(detach("net_null_inner"), 0);
	CHECK_INT(detach("net_null3"), 0);
}

struct attaching {
	pthread_t thread;
	const char *name, *arguments;
	int result;
};

static void *attach_it(void *argument)
{
	struct attaching *attaching = argument;

	attaching->result = attach(attaching->name, attaching->arguments);
	return NULL;
}

static void begin(struct attaching *attaching)
{
	CHECK_INT(pthread_create(&attaching->thread, NULL, attach_it, attaching), 0);
}

static void probing_shows_no_driver(int result, const char *arguments)
{
	struct attaching first = { .name = "net_null4", .arguments = arguments };
	struct rte_device *dev;

	begin(&first);
	wait_for(&fake_waits);
	dev = find("vdev", "net_null4");
	/* The bus needs it. */
	CHECK(dev->driver != NULL);
	CHECK(rte_hotplug_device_driver(dev) == NULL);
	CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_FOUND);
	CHECK_STR(rte_hotplug_device_name(dev), "net_null4");
	sem_post(&fake_go);
	CHECK_INT(pthread_join(first.thread, NULL), 0);
	CHECK_INT(first.result, result);
}

static void a_probe_that_lasts(void)
{
	probing_shows_no_driver(0, "wait=1");
	check_held(find("vdev", "net_null4"), "net_null");
	CHECK_INT(detach("net_null4"), 0);
	probing_shows_no_driver(-5, "wait=1,fail=5");
	check_free(find("vdev", "net_null4"));
}

/* Others work meanwhile; whoever wants the same device waits for its turn. */
static void others_wait_for_a_probe(void)
{
	struct attaching first = { .name = "net_null4", .arguments = "wait=1" };
	struct attaching second = { .name = "net_null4", .arguments = "" };
	int probes = fake_seen.probes;

	begin(&first);
	wait_for(&fake_waits);
	begin(&second);
	CHECK_INT(attach("net_null5", ""), 0);
	CHECK_INT(detach("net_null5"), 0);
	CHECK_INT(fake_seen.probes, probes + 1);
	sem_post(&fake_go);
	CHECK_INT(pthread_join(first.thread, NULL), 0);
	CHECK_INT(pthread_join(second.thread, NULL), 0);
	CHECK_INT(first.result, 0);
	CHECK_INT(second.result, 0);
	CHECK_INT(fake_seen.probes, probes + 2);
	CHECK_INT(detach("net_null4"), 0);
}

#define THREADS 8
#define ROUNDS 400

static const char *const contested[] = { "net_null6", "net_null7", "net_pair1" };
static atomic_int unexpected;
static atomic_bool done;

static void *attach_and_detach(void *argument)
{
	unsigned int seed = (unsigned int)(uintptr_t)argument;

	for (int i = suite_scaled(ROUNDS); i > 0; i--) {
		const char *name = contested[(unsigned int)rand_r(&seed) % 3];
		bool fails = rand_r(&seed) % 4 == 0;
		/* Attached already is a success, whatever the arguments say. */
		int added = attach(name, fails ? "fail=5" : ""), removed = detach(name);

		if ((added != 0 && (!fails || added != -5)) ||
		    (removed != 0 && removed != -ENOENT && removed != -EINVAL))
			unexpected++;
	}
	return NULL;
}

/* A state is one of those that the device can have. */
static void *look(void *argument)
{
	(void)argument;
	while (!done) {
		for (int i = 0; i < 3; i++) {
			struct rte_device *dev = rte_hotplug_device_find("vdev", contested[i]);
			const char *driver = rte_hotplug_device_driver(dev);
			int state = rte_hotplug_device_state(dev);

			if (driver != NULL && strcmp(driver, i < 2 ? "net_null" : "net_taker") != 0)
				unexpected++;
			if (dev != NULL && state != RTE_HOTPLUG_DEVICE_FOUND &&
			    state != RTE_HOTPLUG_DEVICE_PROBED)
				unexpected++;
		}
		sched_yield();
	}
	return NULL;
}

static void many_threads(void)
{
	int before = fake_seen.probes - fake_seen.removes, probes = fake_seen.probes;
	pthread_t threads[THREADS], looking;
	int held = 0;

	unexpected = 0;
	done = false;
	CHECK_INT(pthread_create(&looking, NULL, look, NULL), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, attach_and_detach, (void *)(i + 1)),
			  0);
	for (int i = 0; i < THREADS; i++)
		CHECK_INT(pthread_join(threads[i], NULL), 0);
	done = true;
	CHECK_INT(pthread_join(looking, NULL), 0);
	CHECK_INT(unexpected, 0);
	for (int i = 0; i < 3; i++)
		held += rte_hotplug_device_driver(find("vdev", contested[i])) != NULL;
	CHECK(fake_seen.probes > probes);
	CHECK_INT(fake_seen.probes - fake_seen.removes, before + held);
	for (int i = 0; i < 3; i++)
		suite_detach(contested[i]);
	CHECK_INT(fake_seen.probes - fake_seen.removes, before);
}

/* The device is never attached, so at no moment anybody may be told so. */
static void *look_at_failing(void *argument)
{
	struct rte_device *dev = argument;

	while (!done)
		if (rte_hotplug_device_driver(dev) != NULL ||
		    rte_hotplug_device_state(dev) != RTE_HOTPLUG_DEVICE_FOUND)
			unexpected++;
	return NULL;
}

static void failing_probes_are_never_seen_attached(void)
{
	pthread_t looking[2];

	unexpected = 0;
	done = false;
	CHECK_INT(attach("net_null9", "fail=5"), -5);
	for (int i = 0; i < 2; i++)
		CHECK_INT(pthread_create(&looking[i], NULL, look_at_failing,
					 find("vdev", "net_null9")),
			  0);
	for (int i = suite_scaled(5000); i > 0; i--)
		unexpected += attach("net_null9", "fail=5") != -5;
	done = true;
	for (int i = 0; i < 2; i++)
		CHECK_INT(pthread_join(looking[i], NULL), 0);
	CHECK_INT(unexpected, 0);
}

/* Stock refuses 128 bytes whenever there could be other processes. */
static void long_devargs_are_taken_whole(void)
{
	char arguments[1024] = { 0 };

	memset(arguments, 'x', sizeof(arguments) - 1);
	CHECK_INT(attach("net_null8", arguments), 0);
	CHECK_STR(rte_hotplug_device_devargs(find("vdev", "net_null8")), arguments);
	CHECK_INT(detach("net_null8"), 0);
}

static sem_t told;
static _Atomic int removals;

static void on_event(const char *name, enum rte_dev_event_type type, void *argument)
{
	(void)argument;
	EXPECT(type == RTE_DEV_EVENT_REMOVE && strcmp(name, FAKE_PCI_ONCE) == 0);
	EXPECT(rte_thread_is_intr());
	removals++;
	sem_post(&told);
}

static volatile char *map_file(FILE *file)
{
	void *at;

	CHECK_INT(ftruncate(fileno(file), 2 * (off_t)PAGE), 0);
	at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
	CHECK(at != MAP_FAILED);
	return at;
}

/* Its memory is a file: when that is cut off, an access is a true SIGBUS. */
static void a_fault_in_the_memory_of_a_function(void)
{
	struct rte_device *dev = find("pci", FAKE_PCI_ONCE);
	struct rte_pci_device *function = (struct rte_pci_device *)dev;
	FILE *file = tmpfile();
	volatile char *bar;

	CHECK(file != NULL);
	bar = map_file(file);
	function->mem_resource[2].addr = (void *)(uintptr_t)bar;
	function->mem_resource[2].len = 2 * PAGE;
	sem_init(&told, 0, 0);
	CHECK_INT(rte_dev_event_callback_register(NULL, on_event, NULL), 0);
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_BOUND);
	CHECK_INT(rte_dev_probe(FAKE_PCI_ONCE), 0);
	bar[PAGE] = 'x';
	CHECK_INT(ftruncate(fileno(file), 0), 0);
	CHECK_INT(bar[PAGE], 0);
	wait_for(&told);
	CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_FAULT);
	CHECK_INT(rte_dev_remove(dev), 0);
	CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_BOUND);
	CHECK_INT(removals, 1);
	CHECK_INT(rte_dev_hotplug_handle_disable(), 0);
	/* It may still be inside. */
	while (rte_dev_event_callback_unregister(NULL, on_event, NULL) == -EAGAIN)
		sched_yield();
	munmap((void *)(uintptr_t)bar, 2 * PAGE);
	memset(function->mem_resource, 0, sizeof(function->mem_resource));
	fclose(file);
}

static void no_driver_saw_anything_wrong(void)
{
	CHECK_INT(fake_seen.violations, 0);
	CHECK_INT(fake_seen.probes, fake_seen.removes + 1);
}

static const struct test_case cases[] = {
	{ "a detached device stays", a_detached_device_stays },
	{ "the next driver is asked", the_next_driver_is_asked },
	{ "no driver takes it", no_driver_takes_it },
	{ "a failed device stays without driver", a_failed_device_stays_without_driver },
	{ "a failed remove keeps the driver", a_failed_remove_keeps_the_driver },
	{ "a bus that probes again", a_bus_that_probes_again },
	{ "a driver that does not", a_driver_that_does_not },
	{ "a bus that cannot", a_bus_that_cannot },
	{ "calls inside of a probe", calls_inside_of_a_probe },
	{ "a probe that lasts", a_probe_that_lasts },
	{ "others wait for a probe", others_wait_for_a_probe },
	{ "many threads", many_threads },
	{ "failing probes are never seen attached", failing_probes_are_never_seen_attached },
	{ "long devargs are taken whole", long_devargs_are_taken_whole },
	{ "a fault in the memory of a function", a_fault_in_the_memory_of_a_function },
	/* The last one: it looks back. One probe was another one of a device. */
	{ "no driver saw anything wrong", no_driver_saw_anything_wrong },
};

/* The directory of the group, in that of the PCI functions: it goes whatever becomes of the test. */
static char directory[64];

/* A process without this library: it answers an attach as it is told, and everything else with 0. */
static struct {
	struct sockaddr_un name;
	pthread_t thread;
	int socket, answer;
	int asked[8]; /* what for, in order */
	size_t count;
	char devargs[128]; /* of the last one */
} peer;

static void *answer_requests(void *unused)
{
	struct sockaddr_un sender;
	struct fake_datagram datagram;

	(void)unused;
	for (;;) {
		socklen_t length = sizeof(sender);
		struct eal_dev_mp_req request;

		/* An empty one ends it. */
		if (recvfrom(peer.socket, &datagram, sizeof(datagram), 0,
			     (struct sockaddr *)&sender, &length) != (ssize_t)FAKE_DATAGRAM_SIZE)
			return NULL;
		memcpy(&request, datagram.message.param, sizeof(request));
		EXPECT(datagram.type == MP_REQ);
		EXPECT(strcmp(datagram.message.name, "eal_dev_mp_request") == 0);
		EXPECT(datagram.message.len_param == (int)sizeof(request));
		EXPECT(datagram.message.num_fds == 0);
		EXPECT(peer.count < sizeof(peer.asked) / sizeof(peer.asked[0]));
		peer.asked[peer.count++] = (int)request.t;
		snprintf(peer.devargs, sizeof(peer.devargs), "%s", request.devargs);
		request.result = request.t == ATTACH ? peer.answer : 0;
		memcpy(datagram.message.param, &request, sizeof(request));
		datagram.type = MP_REP;
		EXPECT(sendto(peer.socket, &datagram, FAKE_DATAGRAM_SIZE, 0, (struct sockaddr *)&sender,
			      length) == (ssize_t)FAKE_DATAGRAM_SIZE);
	}
}

static void start_peer(int answer)
{
	/* One that has just started could still turn out to have this library. */
	const struct timespec past[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };

	memset(&peer, 0, sizeof(peer));
	peer.answer = answer;
	peer.name.sun_family = AF_UNIX;
	snprintf(peer.name.sun_path, sizeof(peer.name.sun_path), "%s/mp_socket_%d_1", directory,
		 (int)getpid());
	peer.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK_INT(bind(peer.socket, (struct sockaddr *)&peer.name, sizeof(peer.name)), 0);
	CHECK_INT(utimensat(AT_FDCWD, peer.name.sun_path, past, 0), 0);
	CHECK_INT(pthread_create(&peer.thread, NULL, answer_requests, NULL), 0);
}

static void stop_peer(void)
{
	CHECK_INT(sendto(peer.socket, "", 0, 0, (struct sockaddr *)&peer.name, sizeof(peer.name)),
		  0);
	CHECK_INT(pthread_join(peer.thread, NULL), 0);
	close(peer.socket);
	unlink(peer.name.sun_path);
}

static void another_process_takes_part(void)
{
	start_peer(0);
	CHECK_INT(attach("net_null0", "a=1"), 0);
	CHECK_STR(peer.devargs, "vdev:net_null0,a=1");
	CHECK_INT(detach("net_null0"), 0);
	check_free(find("vdev", "net_null0"));
	stop_peer();
	CHECK_INT(peer.count, 2);
	CHECK_INT(peer.asked[0], ATTACH);
	CHECK_INT(peer.asked[1], DETACH);
}

static void another_process_fails(void)
{
	struct rte_device *dev = find("pci", FAKE_PCI_AGAIN);

	start_peer(-5);
	CHECK_INT(attach("net_null0", ""), -5);
	check_free(find("vdev", "net_null0"));
	stop_peer();
	CHECK_INT(peer.count, 1);
	CHECK_INT(rte_dev_probe(FAKE_PCI_AGAIN), 0);
	/* What was attached before stays so. */
	start_peer(-5);
	CHECK_INT(rte_dev_probe(FAKE_PCI_AGAIN ",a=1"), -5);
	check_held(dev, "net_again");
	CHECK_INT(rte_dev_remove(dev), 0);
	check_free(dev);
	stop_peer();
}

static void another_process_has_no_room(void)
{
	/* "vdev:net_null0," and these are 127 bytes. */
	char arguments[] = "a=" "0123456789012345678901234567890123456789012345678901234567890123456789"
			   "0123456789012345678901234567890123456789";

	CHECK_INT(strlen("vdev:net_null0,") + strlen(arguments), 127);
	start_peer(0);
	CHECK_INT(attach("net_null0", arguments), 0);
	CHECK_STR(peer.devargs + strlen("vdev:net_null0,"), arguments);
	CHECK_INT(detach("net_null0"), 0);
	CHECK_INT(attach("net_null00", arguments), -E2BIG);
	CHECK(rte_hotplug_device_find("vdev", "net_null00") == NULL);
	CHECK_INT(peer.count, 2);
	stop_peer();
	CHECK_INT(attach("net_null00", arguments), 0);
	CHECK_INT(detach("net_null00"), 0);
}

/* What goes on in other processes, too, cannot be done in the middle of itself. */
static void calls_inside_of_a_probe_for_all(void)
{
	CHECK_INT(attach("net_null3", "inside=1"), 0);
	CHECK_INT(fake_seen.inside, -EBUSY);
	check_held(find("vdev", "net_null3"), "net_null");
	CHECK_INT(detach("net_null3"), 0);
	CHECK_INT(attach("net_null3", "inside=2"), 0);
	CHECK_INT(fake_seen.inside, -ENOENT);
	CHECK_INT(detach("net_null3"), 0);
	CHECK_INT(attach("net_null3", "inside=3"), 0);
	CHECK_INT(fake_seen.inside, 0);
	CHECK_INT(detach("net_null_inner"), 0);
	CHECK_INT(detach("net_null3"), 0);
}

static void the_handler_is_ours(void)
{
	CHECK(!fake_has_own_handler());
}

static const struct test_case group_cases[] = {
	{ "the handler of requests is ours", the_handler_is_ours },
	{ "a detached device stays", a_detached_device_stays },
	{ "the next driver is asked", the_next_driver_is_asked },
	{ "a failed device stays without driver", a_failed_device_stays_without_driver },
	{ "a failed remove keeps the driver", a_failed_remove_keeps_the_driver },
	{ "calls inside of a probe", calls_inside_of_a_probe_for_all },
	{ "a probe that lasts", a_probe_that_lasts },
	{ "many threads", many_threads },
	{ "long devargs are taken whole", long_devargs_are_taken_whole },
	{ "another process takes part", another_process_takes_part },
	{ "another process fails", another_process_fails },
	{ "another process has no room", another_process_has_no_room },
};

int main(int argc, char **unused)
{
	char *argv[] = { (char *)"newest", NULL };

	(void)unused;
	tree_make();
	if (argc > 1) {
		snprintf(directory, sizeof(directory), "%s", tree_path("group"));
		if (mkdir(directory, 0700) != 0)
			return EXIT_FAILURE;
		setenv("FAKE_DIRECTORY", directory, 1);
	}
	if (rte_eal_init(1, argv) != 0 || !suite_hosted()) {
		printf("Bail out! not in the hosted mode\n");
		return EXIT_FAILURE;
	}
	tree_add(FAKE_PCI_ONCE, 0x1af4, 0x1000, 0x020000, "vfio-pci");
	if (argc > 1)
		return suite_run(group_cases, sizeof(group_cases) / sizeof(group_cases[0]));
	return suite_run(cases, sizeof(cases) / sizeof(cases[0]));
}
