/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process of a group: does what it reads, line by line, and answers each line with one that begins
 * with '='. Built for the embedded runtime (-DPEER_EMBEDDED), and as a plain DPDK application, which
 * is stock, or ours under LD_PRELOAD.
 *
 * It has a vdev driver, "tdrv", that behaves as told with the command "driver".
 *
 * usage: peer EAL_ARGUMENTS...
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef PEER_EMBEDDED
#include <rte_hotplug.h>
#else
#include <rte_alarm.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_hotplug.h>
#include <rte_version.h>
#endif

#define NAME_SIZE 64
#define LINE_SIZE 8192

static void answer(const char *format, ...) __attribute__((format(printf, 1, 2)));

#include <stdarg.h>

static pthread_mutex_t output_lock = PTHREAD_MUTEX_INITIALIZER;

static void answer(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	pthread_mutex_lock(&output_lock);
	printf("=");
	vprintf(format, arguments);
	printf("\n");
	fflush(stdout);
	pthread_mutex_unlock(&output_lock);
	va_end(arguments);
}

static void sleep_ms(int ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&time, &time) != 0 && errno == EINTR)
		;
}

/* What the driver does, by "driver key=value ...", from the start by PEER_DRIVER. */
static struct behaviour {
	char only[NAME_SIZE]; /* for this device only; empty for all */
	int probe, remove;    /* result */
	int probe_ms, remove_ms;
	int kill_probe, kill_remove; /* end the process: 1 before, 2 after its work */
	char nest_probe[NAME_SIZE];  /* a device to attach from inside of the probe */
	char nest_remove[NAME_SIZE]; /* a device to detach from inside of the remove */
	int gate;		     /* wait until the command "open": 1 in the probe, 2 in the remove */
} behaviour;

static _Atomic int probes, removes, nested_result = 1;
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_changed = PTHREAD_COND_INITIALIZER;
static bool gate_open, gate_reached;

static int attach(const char *devargs)
{
	return rte_dev_probe(devargs);
}

static struct rte_device *find(const char *name);

static int detach(const char *name)
{
	struct rte_device *dev = find(name);

	return dev == NULL ? -ENODEV : rte_dev_remove(dev);
}

/* What it was told when its work begins counts until the end. */
static bool concerned(const char *name, struct behaviour *what)
{
	pthread_mutex_lock(&gate_lock);
	*what = behaviour;
	pthread_mutex_unlock(&gate_lock);
	return what->only[0] == '\0' || strcmp(what->only, name) == 0;
}

static void wait_at_gate(void)
{
	pthread_mutex_lock(&gate_lock);
	gate_reached = true;
	pthread_cond_broadcast(&gate_changed);
	while (!gate_open)
		pthread_cond_wait(&gate_changed, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
}

static int probe_device(const char *name)
{
	struct behaviour what;

	probes++;
	if (!concerned(name, &what))
		return 0;
	if (what.kill_probe == 1)
		kill(getpid(), SIGKILL);
	if (what.gate == 1)
		wait_at_gate();
	sleep_ms(what.probe_ms);
	if (what.nest_probe[0] != '\0' && strcmp(what.nest_probe, name) != 0)
		nested_result = attach(what.nest_probe);
	if (what.kill_probe == 2)
		kill(getpid(), SIGKILL);
	return what.probe;
}

static int remove_device(const char *name)
{
	struct behaviour what;

	removes++;
	if (!concerned(name, &what))
		return 0;
	if (what.kill_remove == 1)
		kill(getpid(), SIGKILL);
	if (what.gate == 2)
		wait_at_gate();
	sleep_ms(what.remove_ms);
	if (what.nest_remove[0] != '\0' && strcmp(what.nest_remove, name) != 0)
		nested_result = rte_eal_hotplug_remove("vdev", what.nest_remove);
	if (what.kill_remove == 2)
		kill(getpid(), SIGKILL);
	return what.remove;
}

/* A function of ours in a process that may not have them. */
static void *ours(const char *name)
{
	return dlsym(RTLD_DEFAULT, name);
}

#ifdef PEER_EMBEDDED

static int driver_probe(struct rte_device *dev, void *user)
{
	(void)user;
	return probe_device(rte_hotplug_device_name(dev));
}

static int driver_remove(struct rte_device *dev, void *user)
{
	(void)user;
	return remove_device(rte_hotplug_device_name(dev));
}

static void register_driver(void)
{
	struct rte_hotplug_driver_options options = {
		.size = sizeof(options), .name = "tdrv", .bus = "vdev",
		.probe = driver_probe,	 .remove = driver_remove,
	};
	struct rte_hotplug_driver *driver;

	if (rte_hotplug_driver_register(&options, &driver) != 0)
		exit(3);
}

static struct rte_device *find(const char *name)
{
	return rte_hotplug_device_find("vdev", name);
}

static void list(char *text, size_t size)
{
	struct rte_device *dev = NULL;

	while ((dev = rte_hotplug_device_next("vdev", dev)) != NULL)
		if (rte_hotplug_device_driver(dev) != NULL)
			snprintf(text + strlen(text), size - strlen(text), " %s",
				 rte_hotplug_device_name(dev));
}

static const char *arguments_of(const char *name)
{
	struct rte_device *dev = find(name);
	const char *arguments = dev != NULL ? rte_hotplug_device_devargs(dev) : NULL;

	return arguments != NULL ? arguments : "";
}

#else /* a DPDK application */

/* Debian ships no bus_vdev_driver.h: the members that are used here, the same since 20.11. */
struct list_entry {
	void *next, *prev;
};

struct rte_vdev_driver {
	struct list_entry next;
	struct {
		struct list_entry next;
		const char *name;
		const char *alias;
	} driver;
	int (*probe)(void *vdev);
	int (*remove)(void *vdev);
	int (*dma_map)(void *vdev, void *addr, uint64_t iova, size_t len);
	int (*dma_unmap)(void *vdev, void *addr, uint64_t iova, size_t len);
	uint32_t drv_flags;
};

void rte_vdev_register(struct rte_vdev_driver *driver);

/* struct rte_vdev_device is a list entry and the device. */
static const struct rte_device *device_of(const void *vdev)
{
	return (const void *)((const char *)vdev + sizeof(struct list_entry));
}

static int driver_probe(void *vdev)
{
	return probe_device(rte_dev_name(device_of(vdev)));
}

static int driver_remove(void *vdev)
{
	return remove_device(rte_dev_name(device_of(vdev)));
}

static struct rte_vdev_driver driver = {
	.driver = { .name = "tdrv" },
	.probe = driver_probe,
	.remove = driver_remove,
};

static void register_driver(void)
{
	rte_vdev_register(&driver);
}

/*
 * DPDK's iterator stands on devices that another thread may detach: taken only where there are no
 * functions of ours.
 */
static struct rte_device *find(const char *name)
{
	struct rte_device *(*find_ours)(const char *, const char *) = NULL;
	struct rte_dev_iterator iterator;
	struct rte_device *dev, *found = NULL;

	*(void **)&find_ours = ours("rte_hotplug_device_find");
	if (find_ours != NULL)
		return find_ours("vdev", name);
	RTE_DEV_FOREACH(dev, "bus=vdev", &iterator)
		if (strcmp(rte_dev_name(dev), name) == 0)
			found = dev;
	return found;
}

static void list_ours(struct rte_device *(*next)(const char *, const struct rte_device *),
		      char *text, size_t size)
{
	const char *(*name_of)(const struct rte_device *) = NULL;
	int (*state_of)(const struct rte_device *) = NULL;
	struct rte_device *dev = NULL;

	*(void **)&name_of = ours("rte_hotplug_device_name");
	*(void **)&state_of = ours("rte_hotplug_device_state");
	while ((dev = next("vdev", dev)) != NULL) {
		const char *name = name_of(dev);

		if (state_of(dev) == RTE_HOTPLUG_DEVICE_PROBED && name != NULL)
			snprintf(text + strlen(text), size - strlen(text), " %s", name);
	}
}

static void list(char *text, size_t size)
{
	struct rte_device *(*next)(const char *, const struct rte_device *) = NULL;
	struct rte_dev_iterator iterator;
	struct rte_device *dev;

	*(void **)&next = ours("rte_hotplug_device_next");
	if (next != NULL) {
		list_ours(next, text, size);
		return;
	}
	RTE_DEV_FOREACH(dev, "bus=vdev", &iterator)
		if (rte_dev_is_probed(dev))
			snprintf(text + strlen(text), size - strlen(text), " %s",
				 rte_dev_name(dev));
}

static const char *arguments_of(const char *name)
{
	struct rte_device *dev = find(name);
	const struct rte_devargs *devargs = dev != NULL ? rte_dev_devargs(dev) : NULL;

	return devargs != NULL && devargs->args != NULL ? devargs->args : "";
}

#endif

/* A command in a thread of its own; its answer comes later, with "@" in front. */
struct job {
	int (*work)(const char *device);
	char label[NAME_SIZE]; /* the first word of its answer */
	char device[LINE_SIZE];
};

static double now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void *run_job(void *argument)
{
	struct job *job = argument;
	double start = now_ms();
	int result = job->work(job->device);

	pthread_mutex_lock(&output_lock);
	printf("@%s %.20s %d %.3f\n", job->label, job->device, result, now_ms() - start);
	fflush(stdout);
	pthread_mutex_unlock(&output_lock);
	free(job);
	return NULL;
}

static struct job *new_job(bool attach_it, const char *device)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		exit(3);
	job->work = attach_it ? attach : detach;
	snprintf(job->label, sizeof(job->label), "%s", attach_it ? "attach" : "detach");
	snprintf(job->device, sizeof(job->device), "%s", device);
	return job;
}

static void start_job(struct job *job)
{
	pthread_attr_t detached;
	pthread_t thread;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &detached, run_job, job) != 0)
		exit(3);
	pthread_attr_destroy(&detached);
	answer("0");
}

static void start(bool attach_it, const char *device)
{
	start_job(new_job(attach_it, device));
}

static int unplug(const char *name)
{
	return rte_eal_hotplug_remove("vdev", name);
}

/* "LABEL attach|unplug DEVICE": many may run at once, told apart by their labels. */
static void run_labelled(char *words)
{
	char *label = strtok(words, " "), *step = strtok(NULL, " "), *device = strtok(NULL, " ");
	struct job *job;

	if (device == NULL)
		exit(3);
	job = new_job(strcmp(step, "attach") == 0, device);
	snprintf(job->label, sizeof(job->label), "%s", label);
	/* By name: while many run at once, a pointer may be another device's by now. */
	if (strcmp(step, "unplug") == 0)
		job->work = unplug;
	start_job(job);
}

#ifndef PEER_EMBEDDED
static void run_alarm(void *argument)
{
	run_job(argument);
}

static char callback_device[NAME_SIZE];

static int on_new_port(uint16_t port, enum rte_eth_event_type type, void *user, void *result)
{
	(void)port;
	(void)type;
	(void)user;
	(void)result;
	/* Once: the device that it attaches has a port of its own. */
	if (callback_device[0] != '\0') {
		char device[NAME_SIZE];

		snprintf(device, sizeof(device), "%s", callback_device);
		callback_device[0] = '\0';
		nested_result = attach(device);
	}
	return 0;
}
#endif

static void set_behaviour(char *words)
{
	struct behaviour next = { 0 };

	for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
		char *value = strchr(word, '=');

		if (value == NULL)
			continue;
		*value++ = '\0';
		if (strcmp(word, "only") == 0)
			snprintf(next.only, NAME_SIZE, "%s", value);
		else if (strcmp(word, "probe") == 0)
			next.probe = atoi(value);
		else if (strcmp(word, "remove") == 0)
			next.remove = atoi(value);
		else if (strcmp(word, "probe_ms") == 0)
			next.probe_ms = atoi(value);
		else if (strcmp(word, "remove_ms") == 0)
			next.remove_ms = atoi(value);
		else if (strcmp(word, "kill_probe") == 0)
			next.kill_probe = atoi(value);
		else if (strcmp(word, "kill_remove") == 0)
			next.kill_remove = atoi(value);
		else if (strcmp(word, "nest_probe") == 0)
			snprintf(next.nest_probe, NAME_SIZE, "%s", value);
		else if (strcmp(word, "nest_remove") == 0)
			snprintf(next.nest_remove, NAME_SIZE, "%s", value);
		else if (strcmp(word, "gate") == 0)
			next.gate = atoi(value);
		else
			exit(3);
	}
	pthread_mutex_lock(&gate_lock);
	behaviour = next;
	nested_result = 1;
	gate_open = gate_reached = false;
	pthread_mutex_unlock(&gate_lock);
}

static int entries(const char *path)
{
	DIR *directory = opendir(path);
	int count = -3; /* ".", ".." and the directory itself */

	while (directory != NULL && readdir(directory) != NULL)
		count++;
	if (directory != NULL)
		closedir(directory);
	return count;
}

static long resident_pages(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long size = 0, resident = 0;

	if (file != NULL && fscanf(file, "%ld %ld", &size, &resident) != 2)
		resident = 0;
	if (file != NULL)
		fclose(file);
	return resident;
}

static void show_peers(void)
{
	char text[LINE_SIZE] = "";
	struct rte_hotplug_peer peers[64];
	int (*get)(struct rte_hotplug_peer *, unsigned int) = NULL;
	int count;

	*(void **)&get = ours("rte_hotplug_peers");
	count = get != NULL ? get(peers, 64) : 0;
	for (int i = 0; i < count && i < 64; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " %u:%d:%d",
			 peers[i].pid, (int)peers[i].state, peers[i].is_primary);
	answer("%d%s", count, text);
}

static void show_statistics(void)
{
	struct rte_hotplug_statistics s = { .size = sizeof(s) };
	int (*get)(struct rte_hotplug_statistics *) = NULL;

	*(void **)&get = ours("rte_hotplug_statistics_get");
	if (get == NULL || get(&s) != 0) {
		answer("none");
		return;
	}
	answer("succeeded=%" PRIu64 " failed=%" PRIu64 " out_of_step=%" PRIu64 " calls=%" PRIu64
	       " requests=%" PRIu64 " joins=%" PRIu64 " departures=%" PRIu64 " stopped=%" PRIu64
	       " late=%" PRIu64 " bad=%" PRIu64 " refused=%" PRIu64,
	       s.succeeded, s.failed, s.out_of_step, s.calls, s.requests, s.joins, s.departures,
	       s.stopped, s.late_replies, s.bad_frames, s.refused);
}

/* A child that does not exec: it must not keep our sockets, and its calls are its own. */
static void fork_child(void)
{
	int ready[2];
	char byte = 0;
	pid_t child;

	if (pipe(ready) != 0)
		exit(3);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, 0);
		close(STDOUT_FILENO);
		close(STDIN_FILENO);
		if (write(ready[1], "x", 1) != 1)
			_exit(3);
		for (;;)
			pause();
	}
	if (read(ready[0], &byte, 1) != 1)
		exit(3);
	close(ready[0]);
	close(ready[1]);
	answer("%d", (int)child);
}

static void cycles(char *words)
{
	char *device = strtok(words, " "), *number = strtok(NULL, " ");
	const char *given = strtok(NULL, " "), *arguments = given != NULL ? given : "";
	int count = number != NULL ? atoi(number) : 0;
	double *times = calloc((size_t)count + 1, sizeof(*times));
	int failures = 0;

	if (times == NULL)
		exit(3);
	for (int i = 0; i < count; i++) {
		double start = now_ms();

		/* By name: looking for the device here would be timed too. */
		failures += rte_eal_hotplug_add("vdev", device, arguments) != 0;
		failures += rte_eal_hotplug_remove("vdev", device) != 0;
		times[i] = now_ms() - start;
	}
	pthread_mutex_lock(&output_lock);
	printf("=%d", failures);
	for (int i = 0; i < count; i++)
		printf(" %.4f", times[i]);
	printf("\n");
	fflush(stdout);
	pthread_mutex_unlock(&output_lock);
	free(times);
}

static bool obey(char *line)
{
	char *rest = strchr(line, ' ');
	char text[LINE_SIZE] = "";

	if (rest != NULL)
		*rest++ = '\0';
	else
		rest = line + strlen(line);
	if (strcmp(line, "attach") == 0) {
		answer("%d", attach(rest));
	} else if (strcmp(line, "detach") == 0) {
		answer("%d", detach(rest));
	} else if (strcmp(line, "add") == 0) {
		answer("%d", rte_eal_hotplug_add("vdev", rest, ""));
	} else if (strcmp(line, "unplug") == 0) {
		answer("%d", rte_eal_hotplug_remove("vdev", rest));
	} else if (strcmp(line, "list") == 0) {
		list(text, sizeof(text));
		answer("%s", text);
	} else if (strcmp(line, "arguments") == 0) {
		answer("%s", arguments_of(rest));
	} else if (strcmp(line, "driver") == 0) {
		set_behaviour(rest);
		answer("0");
	} else if (strcmp(line, "counts") == 0) {
		answer("%d %d %d", probes, removes, nested_result);
	} else if (strcmp(line, "reached") == 0) {
		pthread_mutex_lock(&gate_lock);
		while (!gate_reached)
			pthread_cond_wait(&gate_changed, &gate_lock);
		pthread_mutex_unlock(&gate_lock);
		answer("0");
	} else if (strcmp(line, "open") == 0) {
		pthread_mutex_lock(&gate_lock);
		gate_open = true;
		pthread_cond_broadcast(&gate_changed);
		pthread_mutex_unlock(&gate_lock);
		answer("0");
	} else if (strcmp(line, "start-attach") == 0) {
		start(true, rest);
	} else if (strcmp(line, "start-detach") == 0) {
		start(false, rest);
	} else if (strcmp(line, "run") == 0) {
		run_labelled(rest);
#ifndef PEER_EMBEDDED
	} else if (strcmp(line, "alarm-attach") == 0) {
		answer("%d", rte_eal_alarm_set(1, run_alarm, new_job(true, rest)));
	} else if (strcmp(line, "callback-attach") == 0) {
		snprintf(callback_device, sizeof(callback_device), "%s", rest);
		answer("%d", rte_eth_dev_callback_register(RTE_ETH_ALL, RTE_ETH_EVENT_NEW,
							   on_new_port, NULL));
	} else if (strcmp(line, "version") == 0) {
		answer("%s", rte_version());
#endif
	} else if (strcmp(line, "cycles") == 0) {
		cycles(rest);
	} else if (strcmp(line, "peers") == 0) {
		show_peers();
	} else if (strcmp(line, "statistics") == 0) {
		show_statistics();
	} else if (strcmp(line, "resources") == 0) {
		answer("%d %d %ld", entries("/proc/self/fd"), entries("/proc/self/task") + 1,
		       resident_pages());
	} else if (strcmp(line, "fork") == 0) {
		fork_child();
	} else if (strcmp(line, "cleanup") == 0) {
		answer("%d", rte_eal_cleanup());
	} else if (strcmp(line, "quit") == 0) {
		int result = rte_eal_cleanup();

		answer("%d", result);
		return false;
	} else {
		answer("what is \"%s\"?", line);
	}
	return true;
}

/* DPDK maps shared memory where the primary has it, which chance may have filled: no chance here. */
static void start_without_randomness(char **argv)
{
	int now = personality(0xffffffff);

	if (now != -1 && !(now & ADDR_NO_RANDOMIZE) && personality(now | ADDR_NO_RANDOMIZE) != -1)
		execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	char line[LINE_SIZE], *first = getenv("PEER_DRIVER");

	start_without_randomness(argv);
	/* No orphans: a test that dies takes its processes with it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (first != NULL)
		set_behaviour(first);
	register_driver();
	if (rte_eal_init(argc, argv) < 0) {
		answer("init failed");
		return 1;
	}
	answer("ready");
	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (!obey(line))
			break;
	}
	return 0;
}
