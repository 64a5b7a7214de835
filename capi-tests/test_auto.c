/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules by which devices are attached when they come and detached when they go: with events of the real
 * kernel about a function that is otherwise made of files.
 */

#include "kernel_events.h"
#include "pci_suite.h"

#define KIND "1af4:*"

static const char *const step_names[] = { "?", "adding", "added", "removing", "removed", "failed" };

/* What a rule's callback was told, and what it answers. */
static struct {
	char steps[512];
	int result;
	enum rte_hotplug_auto_step vetoes;
	struct rte_hotplug_auto *removes_itself;
	int removed;
	sem_t *waits_for;
	bool ends;
} story;

/* One that was there does not come. */
static void arrive(void)
{
	announce("remove", 1);
	announce("add", 1);
}

static void wait_for(sem_t *semaphore)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE;
	CHECK_INT(sem_timedwait(semaphore, &until), 0);
}

/* The rule's thread writes, and the test reads after it was told. */
static int on_step(const char *name, enum rte_hotplug_auto_step step, int result, void *user)
{
	sem_t *waits_for;
	bool vetoed;

	EXPECT(user == &story);
	EXPECT(strcmp(name, device) == 0);
	strcat(strcat(story.steps, story.steps[0] != '\0' ? " " : ""), step_names[step]);
	story.result = result;
	if (story.removes_itself != NULL)
		story.removed = rte_hotplug_auto_remove(story.removes_itself);
	if (story.ends)
		story.removed = rte_eal_cleanup();
	vetoed = step == story.vetoes;
	waits_for = story.waits_for;
	sem_post(&told);
	if (waits_for != NULL)
		while (sem_wait(waits_for) != 0)
			;
	return vetoed;
}

static struct rte_hotplug_auto_options rule_for(const char *which, const char *kernel_driver)
{
	return (struct rte_hotplug_auto_options){
		.size = sizeof(struct rte_hotplug_auto_options),
		.device = which,
		.driver = kernel_driver,
		.args = "from=rule",
		.limit_ms = PATIENCE * 1000,
		.cb = on_step,
		.user = &story,
	};
}

static struct rte_hotplug_auto *add(struct rte_hotplug_auto_options options)
{
	struct rte_hotplug_auto *rule = NULL;

	CHECK_INT(rte_hotplug_auto_add(&options, &rule), 0);
	CHECK(rule != NULL);
	return rule;
}

/* Its callback may just be returning. */
static void remove_rule(struct rte_hotplug_auto *rule)
{
	int result;

	while ((result = rte_hotplug_auto_remove(rule)) == -EAGAIN)
		sched_yield();
	CHECK_INT(result, 0);
}

static struct rte_hotplug_auto_statistics statistics(void)
{
	struct rte_hotplug_auto_statistics now = { .size = sizeof(now) };

	CHECK_INT(rte_hotplug_auto_statistics_get(&now), 0);
	return now;
}

static void wait_for_steps(const char *steps, int count)
{
	while (count-- > 0)
		wait_for(&told);
	CHECK_STR(story.steps, steps);
	story.steps[0] = '\0';
}

/* A function that the kernel can be made to tell of, under uio; DRIVER takes it. */
static void set_up(void)
{
	pci_set_up();
	memset(&story, 0, sizeof(story));
	sem_destroy(&told);
	prepare();
	tree_remove(tree_path("devices/" FUNCTION));
	tree_add(device, 0x1af4, 0x10f0, NETWORK, UIO);
}

static void comes_and_goes(void)
{
	const char *devices[] = { device, KIND, "1AF4:10f0", "*:*" };

	for (int i = 0; i < 4; i++) {
		struct rte_hotplug_auto_statistics before, after;
		struct rte_hotplug_auto *rule;

		set_up();
		before = statistics();
		rule = add(rule_for(devices[i], UIO));
		arrive();
		wait_for_steps("adding added", 2);
		CHECK_INT(pci_state(device), RTE_HOTPLUG_DEVICE_PROBED);
		CHECK_STR(rte_hotplug_device_devargs(rte_hotplug_device_find("pci", device)),
			  "from=rule");
		announce("remove", 1);
		wait_for_steps("removing removed", 2);
		CHECK_INT(driver.removes, 1);
		after = statistics();
		CHECK_INT(after.attached - before.attached, 1);
		CHECK_INT(after.detached - before.detached, 1);
		remove_rule(rule);
		CHECK_INT(rte_hotplug_auto_remove(rule), -ENOENT);
	}
}

/* Only what has come before can be seen to be left out: so another rule is told after it. */
static void the_first_rule_counts(void)
{
	struct rte_hotplug_auto_options other = rule_for("8086:*", UIO);
	struct rte_hotplug_auto_options silent = rule_for(KIND, UIO);

	set_up();
	other.user = NULL;
	add(other);
	add(rule_for(device, UIO));
	silent.cb = NULL;
	add(silent);
	arrive();
	wait_for_steps("adding added", 2);
	CHECK_INT(driver.probes, 1);
}

static void one_that_is_attached_is_left(void)
{
	set_up();
	add(rule_for(KIND, UIO));
	pci_attached(device);
	announce("add", 1);
	/* Nothing is told of that; then it goes, whoever has attached it. */
	announce("remove", 1);
	wait_for_steps("removing removed", 2);
	CHECK_INT(driver.probes, 1);
}

static void vetoes(void)
{
	struct rte_hotplug_auto_statistics before;

	set_up();
	before = statistics();
	add(rule_for(KIND, UIO));
	story.vetoes = RTE_HOTPLUG_AUTO_ADDING;
	arrive();
	wait_for_steps("adding", 1);
	story.vetoes = RTE_HOTPLUG_AUTO_REMOVING;
	arrive();
	wait_for_steps("adding added", 2);
	CHECK_INT(driver.probes, 1);
	announce("remove", 1);
	wait_for_steps("removing", 1);
	story.vetoes = 0;
	announce("remove", 1);
	wait_for_steps("removing removed", 2);
	CHECK_INT(driver.removes, 1);
	CHECK_INT(statistics().vetoed - before.vetoed, 2);
}

static void fails_three_times(struct rte_device *dev)
{
	(void)dev;
	driver.probe_result = driver.probes <= 3 ? -EAGAIN : 0;
}

static void what_is_not_ready_is_tried_again(void)
{
	struct rte_hotplug_auto_statistics before;

	set_up();
	before = statistics();
	driver.in_probe = fails_three_times;
	add(rule_for(KIND, UIO));
	arrive();
	wait_for_steps("adding added", 2);
	CHECK_INT(driver.probes, 4);
	CHECK_INT(statistics().retries - before.retries, 3);
	CHECK_INT(statistics().failed - before.failed, 0);
}

static void it_gives_up_in_the_end(void)
{
	struct rte_hotplug_auto_options options = rule_for(KIND, UIO);
	struct rte_hotplug_auto_statistics before;

	set_up();
	before = statistics();
	options.limit_ms = 100;
	add(options);
	driver.probe_result = -ENXIO;
	arrive();
	wait_for_steps("adding failed", 2);
	CHECK_INT(story.result, -ENXIO);
	CHECK_INT(statistics().failed - before.failed, 1);
	driver.probe_result = 0;
	arrive();
	wait_for_steps("adding added", 2);
	driver.remove_result = -EBUSY;
	announce("remove", 1);
	wait_for_steps("removing failed", 2);
	CHECK_INT(story.result, -EBUSY);
	CHECK_INT(pci_state(device), RTE_HOTPLUG_DEVICE_FAULT);
	driver.remove_result = 0;
	announce("remove", 1);
	wait_for_steps("removing removed", 2);
}

static void what_cannot_succeed_is_not_tried_again(void)
{
	struct rte_hotplug_auto_statistics before;

	set_up();
	before = statistics();
	tree_bind(device, NULL);
	add(rule_for(KIND, "no_such_driver"));
	arrive();
	wait_for_steps("adding failed", 2);
	CHECK_INT(story.result, -ENOENT);
	CHECK_INT(statistics().retries - before.retries, 0);
	CHECK_INT(driver.probes, 0);
}

static sem_t probed;

static void goes_meanwhile(struct rte_device *dev)
{
	(void)dev;
	driver.probe_result = -EAGAIN;
	tree_remove(tree_path("devices/%s", device));
	sem_post(&probed);
}

static int pass(const char *name, enum rte_hotplug_auto_step step, int result, void *passed)
{
	(void)name, (void)step, (void)result;
	sem_post(passed);
	return 1;
}

/* The rule's thread has done all that it had to do: it does one thing after another. */
static void wait_for_rules(void)
{
	struct rte_hotplug_auto_options last = { .size = sizeof(last), .device = FUNCTION,
						 .driver = UIO, .flags = RTE_HOTPLUG_AUTO_NOW,
						 .cb = pass };
	sem_t passed;

	sem_init(&passed, 0, 0);
	last.user = &passed;
	tree_add(FUNCTION, 0x8086, 0x10d3, NETWORK, UIO);
	add(last);
	wait_for(&passed);
}

static sem_t heard;

static void on_change(const struct rte_hotplug_uevent *event, void *unused)
{
	(void)unused;
	if (rte_hotplug_uevent_action(event) == RTE_HOTPLUG_UEVENT_CHANGE)
		sem_post(&heard);
}

/* All events that were announced until now have been told. */
static void wait_for_events(void)
{
	sem_init(&heard, 0, 0);
	CHECK_INT(rte_hotplug_uevent_callback_register("pci", on_change, NULL), 0);
	announce("change", 1);
	wait_for(&heard);
	while (rte_hotplug_uevent_callback_unregister("pci", on_change, NULL) == -EAGAIN)
		sched_yield();
}

/* `udevadm trigger` has the kernel announce what is there anyway. */
static void one_that_is_announced_again_does_not_come(void)
{
	set_up();
	add(rule_for(KIND, UIO));
	announce("add", 3);
	wait_for_events();
	wait_for_rules();
	CHECK_STR(story.steps, "");
	CHECK_INT(driver.probes, 0);
}

static void one_that_goes_meanwhile_is_forgotten(void)
{
	set_up();
	sem_init(&probed, 0, 0);
	driver.in_probe = goes_meanwhile;
	add(rule_for(device, UIO));
	arrive();
	wait_for_steps("adding", 1);
	wait_for(&probed);
	wait_for_rules();
	driver.in_probe = NULL;
	CHECK_STR(story.steps, "failed");
	CHECK_INT(story.result, -ENODEV);
	wait_for(&told);
	story.steps[0] = '\0';
	/* The next one at its address is another one. */
	tree_add(device, 0x1af4, 0x10f0, NETWORK, UIO);
	driver.probe_result = 0;
	arrive();
	wait_for_steps("adding added", 2);
	CHECK_INT(driver.probes, 2);
}

static sem_t go_on;

static void waits_in_probe(struct rte_device *dev)
{
	(void)dev;
	sem_post(&probed);
	while (sem_wait(&go_on) != 0)
		;
}

/* Known as what it was when it went, although the rule's thread gets to it later. */
static void another_kind_at_its_address(void)
{
	struct rte_hotplug_auto_options slow = rule_for(FUNCTION, UIO);

	set_up();
	sem_init(&probed, 0, 0);
	sem_init(&go_on, 0, 0);
	add(rule_for("1af4:10f0", UIO));
	arrive();
	wait_for_steps("adding added", 2);
	driver.in_probe = waits_in_probe;
	tree_add(FUNCTION, 0x1af4, 0x10f1, NETWORK, UIO);
	slow.flags = RTE_HOTPLUG_AUTO_NOW;
	slow.cb = NULL;
	add(slow);
	wait_for(&probed);
	announce("remove", 1);
	wait_for_events();
	tree_remove(tree_path("devices/%s", device));
	tree_add(device, 0x8086, 0x10d3, NETWORK, UIO);
	announce("add", 1);
	wait_for_events();
	sem_post(&go_on);
	wait_for_steps("removing removed", 2);
	CHECK_INT(driver.removes, 1);
}

static void bound_by_somebody_else(void)
{
	set_up();
	add(rule_for(KIND, NULL));
	tree_bind(device, NULL);
	arrive();
	announce("bind", 1);
	wait_for_events();
	wait_for_rules();
	CHECK_STR(story.steps, "");
	tree_bind(device, UIO);
	announce("bind", 1);
	wait_for_steps("adding added", 2);
	CHECK_INT(driver.probes, 1);
}

static void what_is_there_already(void)
{
	struct rte_hotplug_auto_options options = rule_for(KIND, UIO);

	set_up();
	tree_add(FUNCTION, 0x8086, 0x10d3, NETWORK, UIO);
	options.flags = RTE_HOTPLUG_AUTO_NOW;
	add(options);
	wait_for_steps("adding added", 2);
	CHECK_INT(pci_state(FUNCTION), -ENODEV);
	/* What it is was seen while it was there. */
	tree_remove(tree_path("devices/%s", device));
	announce("remove", 1);
	wait_for_steps("removing removed", 2);
}

static void removed_by_its_callback(void)
{
	set_up();
	story.removes_itself = add(rule_for(KIND, UIO));
	arrive();
	wait_for_steps("adding", 1);
	CHECK_INT(story.removed, 0);
	story.removes_itself = NULL;
	/* Another thread works for the next one. */
	add(rule_for(KIND, UIO));
	arrive();
	wait_for_steps("adding added", 2);
	CHECK_INT(driver.probes, 1);
}

static void not_removed_while_it_is_told(void)
{
	struct rte_hotplug_auto *rule;
	sem_t go_on;

	set_up();
	sem_init(&go_on, 0, 0);
	story.waits_for = &go_on;
	rule = add(rule_for(KIND, UIO));
	arrive();
	wait_for(&told);
	CHECK_INT(rte_hotplug_auto_remove(rule), -EAGAIN);
	sem_post(&go_on);
	sem_post(&go_on);
	wait_for(&told);
	remove_rule(rule);
	CHECK_STR(story.steps, "adding added");
	sem_destroy(&go_on);
}

static int threads_named(const char *name)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	int count = 0;

	while ((task = readdir(tasks)) != NULL) {
		char path[64], text[32] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", task->d_name);
		file = fopen(path, "r");
		if (file != NULL && fgets(text, sizeof(text), file) != NULL)
			count += strncmp(text, name, strlen(name)) == 0;
		if (file != NULL)
			fclose(file);
	}
	closedir(tasks);
	return count;
}

static void ended_by_its_callback(void)
{
	set_up();
	story.ends = true;
	add(rule_for(KIND, UIO));
	arrive();
	wait_for_steps("adding", 1);
	CHECK_INT(story.removed, 0);
	CHECK_INT(driver.probes, 0);
	story.ends = false;
	/* It begins anew. */
	add(rule_for(KIND, UIO));
	arrive();
	wait_for_steps("adding added", 2);
	CHECK_INT(threads_named("hotplug-auto"), 1);
	CHECK_INT(rte_eal_cleanup(), 0);
	CHECK_INT(threads_named("hotplug-auto"), 0);
}

static void bad_arguments(void)
{
	static const char *const devices[] = { "", "x", "8086", "8086:", "80860:1", "8086:10d3:1" };
	struct rte_hotplug_auto_options options = rule_for(NULL, UIO);
	struct rte_hotplug_auto_statistics wrong = { .size = 1 };
	struct rte_hotplug_auto *rule;

	set_up();
	CHECK_INT(rte_hotplug_auto_add(NULL, &rule), -EINVAL);
	CHECK_INT(rte_hotplug_auto_add(&options, &rule), -EINVAL);
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		options.device = devices[i];
		CHECK_INT(rte_hotplug_auto_add(&options, &rule), -EINVAL);
	}
	options = rule_for(KIND, UIO);
	options.flags = 2;
	CHECK_INT(rte_hotplug_auto_add(&options, NULL), -EINVAL);
	options = rule_for(KIND, UIO);
	options.limit_ms = 3600001;
	CHECK_INT(rte_hotplug_auto_add(&options, NULL), -EINVAL);
	options = rule_for(KIND, UIO);
	options.size = 8;
	CHECK_INT(rte_hotplug_auto_add(&options, NULL), -EINVAL);
	CHECK_INT(rte_hotplug_auto_remove(NULL), -EINVAL);
	CHECK_INT(rte_hotplug_auto_remove((void *)&options), -ENOENT);
	CHECK_INT(rte_hotplug_auto_statistics_get(NULL), -EINVAL);
	CHECK_INT(rte_hotplug_auto_statistics_get(&wrong), -EINVAL);
}

static const struct test_case cases[] = {
	{ "a device comes and goes", comes_and_goes },
	{ "the first rule counts", the_first_rule_counts },
	{ "one that is attached is left", one_that_is_attached_is_left },
	{ "vetoes", vetoes },
	{ "what is not ready is tried again", what_is_not_ready_is_tried_again },
	{ "it gives up in the end", it_gives_up_in_the_end },
	{ "what cannot succeed is not tried again", what_cannot_succeed_is_not_tried_again },
	{ "one that goes meanwhile is forgotten", one_that_goes_meanwhile_is_forgotten },
	{ "one that is announced again does not come", one_that_is_announced_again_does_not_come },
	{ "another kind at its address", another_kind_at_its_address },
	{ "bound by somebody else", bound_by_somebody_else },
	{ "what is there already", what_is_there_already },
	{ "removed by its callback", removed_by_its_callback },
	{ "not removed while it is told", not_removed_while_it_is_told },
	{ "ended by its callback", ended_by_its_callback },
	{ "bad arguments", bad_arguments },
};

int main(void)
{
	take_device();
	return pci_run(cases, sizeof(cases) / sizeof(cases[0]));
}
