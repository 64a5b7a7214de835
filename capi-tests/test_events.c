/* SPDX-License-Identifier: BSD-3-Clause */
/* Device event callbacks; the repairs of stock's defects U5 and U6 among them. */

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include "suite.h"

static struct {
	int calls;
	char name[64];
	enum rte_dev_event_type type;
	void *arg;
} last;

static void remember(const char *name, enum rte_dev_event_type type, void *arg)
{
	last.calls++;
	snprintf(last.name, sizeof(last.name), "%s", name);
	last.type = type;
	last.arg = arg;
}

static void forget(void)
{
	memset(&last, 0, sizeof(last));
}

static void events_reach_their_callbacks(void)
{
	int arg;

	forget();
	CHECK_INT(rte_dev_event_callback_register("0000:01:00.0", remember, &arg), 0);
	rte_dev_event_callback_process("0000:01:00.0", RTE_DEV_EVENT_REMOVE);
	CHECK_INT(last.calls, 1);
	CHECK_STR(last.name, "0000:01:00.0");
	CHECK_INT(last.type, RTE_DEV_EVENT_REMOVE);
	CHECK(last.arg == &arg);
	rte_dev_event_callback_process("0000:01:00.1", RTE_DEV_EVENT_ADD);
	rte_dev_event_callback_process("0000:01:00.00", RTE_DEV_EVENT_ADD);
	CHECK_INT(last.calls, 1);
	CHECK_INT(rte_dev_event_callback_unregister("0000:01:00.0", remember, &arg), 1);
	rte_dev_event_callback_process("0000:01:00.0", RTE_DEV_EVENT_ADD);
	CHECK_INT(last.calls, 1);
}

static void null_means_all_devices(void)
{
	forget();
	CHECK_INT(rte_dev_event_callback_register(NULL, remember, NULL), 0);
	rte_dev_event_callback_process("a", RTE_DEV_EVENT_ADD);
	rte_dev_event_callback_process("b", RTE_DEV_EVENT_ADD);
	CHECK_INT(last.calls, 2);
	CHECK_INT(rte_dev_event_callback_unregister(NULL, remember, NULL), 1);
}

static void bad_arguments(void)
{
	forget();
	CHECK_INT(rte_dev_event_callback_register("a", NULL, NULL), -EINVAL);
	CHECK_INT(rte_dev_event_callback_unregister("a", NULL, NULL), -EINVAL);
	CHECK_INT(rte_dev_event_callback_unregister("a", remember, NULL), -ENOENT);
	CHECK_INT(rte_dev_event_callback_register("a", remember, NULL), 0);
	CHECK_INT(rte_dev_event_callback_register("a", remember, NULL), -EEXIST);
	rte_dev_event_callback_process(NULL, RTE_DEV_EVENT_ADD);
	rte_dev_event_callback_process("a", RTE_DEV_EVENT_MAX);
	rte_dev_event_callback_process("a", (enum rte_dev_event_type)1000);
	CHECK_INT(last.calls, 0);
	CHECK_INT(rte_dev_event_callback_unregister("a", remember, (void *)-1), 1);
}

static void any_argument_unregisters_all(void)
{
	int args[3];

	for (int i = 0; i < 3; i++)
		CHECK_INT(rte_dev_event_callback_register("a", remember, &args[i]), 0);
	CHECK_INT(rte_dev_event_callback_register("b", remember, &args[0]), 0);
	CHECK_INT(rte_dev_event_callback_unregister("a", remember, &args[1]), 1);
	CHECK_INT(rte_dev_event_callback_unregister("a", remember, (void *)-1), 2);
	CHECK_INT(rte_dev_event_callback_unregister(NULL, remember, (void *)-1), 1);
}

/* Stock up to 24.07 removes callbacks of other functions here. */
static void other(const char *name, enum rte_dev_event_type type, void *arg)
{
	remember(name, type, arg);
}

static void unregistering_leaves_other_functions(void)
{
	CHECK_INT(rte_dev_event_callback_register("a", remember, NULL), 0);
	CHECK_INT(rte_dev_event_callback_register("b", other, NULL), 0);
	CHECK_INT(rte_dev_event_callback_unregister(NULL, other, NULL), 1);
	CHECK_INT(rte_dev_event_callback_unregister("a", remember, NULL), 1);
}

/* U6 */
static int self_result;

static void unregister_self(const char *name, enum rte_dev_event_type type, void *arg)
{
	(void)type;
	self_result = rte_dev_event_callback_unregister(name, unregister_self, arg);
}

static void a_callback_unregisters_itself(void)
{
	CHECK_INT(rte_dev_event_callback_register("a", unregister_self, NULL), 0);
	rte_dev_event_callback_process("a", RTE_DEV_EVENT_ADD);
	CHECK_INT(self_result, 1);
	self_result = 0;
	rte_dev_event_callback_process("a", RTE_DEV_EVENT_ADD);
	CHECK_INT(self_result, 0);
	CHECK_INT(rte_dev_event_callback_unregister("a", unregister_self, NULL), -ENOENT);
}

/* U5 */
static sem_t inside, leave;

static void wait_inside(const char *name, enum rte_dev_event_type type, void *arg)
{
	(void)name, (void)type, (void)arg;
	sem_post(&inside);
	while (sem_wait(&leave) != 0)
		;
}

static void *process_event(void *arg)
{
	rte_dev_event_callback_process(arg, RTE_DEV_EVENT_REMOVE);
	return NULL;
}

static void a_running_callback_is_not_freed(void)
{
	pthread_t threads[2];
	char name[] = "a";

	sem_init(&inside, 0, 0);
	sem_init(&leave, 0, 0);
	CHECK_INT(rte_dev_event_callback_register("a", wait_inside, NULL), 0);
	for (int i = 0; i < 2; i++) {
		CHECK_INT(pthread_create(&threads[i], NULL, process_event, name), 0);
		while (sem_wait(&inside) != 0)
			;
	}
	CHECK_INT(rte_dev_event_callback_unregister("a", wait_inside, NULL), -EAGAIN);
	sem_post(&leave);
	/* One of the two has left, or will; the other is inside for certain. */
	CHECK_INT(rte_dev_event_callback_unregister("a", wait_inside, NULL), -EAGAIN);
	sem_post(&leave);
	for (int i = 0; i < 2; i++)
		CHECK_INT(pthread_join(threads[i], NULL), 0);
	CHECK_INT(rte_dev_event_callback_unregister("a", wait_inside, NULL), 1);
	sem_destroy(&inside);
	sem_destroy(&leave);
}

static void attach_from_callback(const char *name, enum rte_dev_event_type type, void *arg)
{
	int *result = arg;

	*result = type == RTE_DEV_EVENT_ADD ? rte_dev_probe(name)
					    : rte_eal_hotplug_remove("vdev", name);
}

static void a_callback_attaches_and_detaches(void)
{
	int result = -1;

	CHECK_INT(rte_dev_event_callback_register(NULL, attach_from_callback, &result), 0);
	rte_dev_event_callback_process(NULL_DEVICE(0), RTE_DEV_EVENT_ADD);
	CHECK_INT(result, 0);
	CHECK(rte_hotplug_device_find("vdev", NULL_DEVICE(0)) != NULL);
	rte_dev_event_callback_process(NULL_DEVICE(0), RTE_DEV_EVENT_REMOVE);
	CHECK_INT(result, 0);
	CHECK(suite_is_gone(NULL_DEVICE(0)));
	CHECK_INT(rte_dev_event_callback_unregister(NULL, attach_from_callback, &result), 1);
}

static void the_handler_is_counted(void)
{
	struct sigaction before, action;

	CHECK_INT(sigaction(SIGBUS, NULL, &before), 0);
	CHECK_INT(rte_dev_hotplug_handle_disable(), 0);
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	CHECK_INT(rte_dev_hotplug_handle_enable(), 0);
	CHECK_INT(rte_dev_hotplug_handle_disable(), 0);
	CHECK_INT(sigaction(SIGBUS, NULL, &action), 0);
	CHECK(action.sa_sigaction != before.sa_sigaction);
	CHECK_INT(rte_dev_hotplug_handle_disable(), 0);
	CHECK_INT(sigaction(SIGBUS, NULL, &action), 0);
	CHECK(action.sa_sigaction == before.sa_sigaction);
}

static const struct test_case cases[] = {
	{ "events reach their callbacks", events_reach_their_callbacks },
	{ "NULL means all devices", null_means_all_devices },
	{ "bad arguments", bad_arguments },
	{ "any argument unregisters all", any_argument_unregisters_all },
	{ "unregistering leaves other functions", unregistering_leaves_other_functions },
	{ "a callback unregisters itself (U6)", a_callback_unregisters_itself },
	{ "a running callback is not freed (U5)", a_running_callback_is_not_freed },
	{ "a callback attaches and detaches", a_callback_attaches_and_detaches },
	{ "the handler is counted (S6)", the_handler_is_counted },
};

int main(void)
{
	suite_start();
	return suite_run(cases, sizeof(cases) / sizeof(cases[0]));
}
