/* SPDX-License-Identifier: BSD-3-Clause */
/* What is used of DPDK's header of this name, as the fake EAL has it. */
#ifndef RTE_INTERRUPTS_H
#define RTE_INTERRUPTS_H

#include <stdint.h>

struct rte_intr_handle;

typedef void (*rte_intr_callback_fn)(void *argument);
typedef void (*rte_intr_unregister_callback_fn)(struct rte_intr_handle *handle, void *argument);

struct rte_intr_handle *rte_intr_instance_alloc(uint32_t flags);
void rte_intr_instance_free(struct rte_intr_handle *handle);
int rte_intr_fd_set(struct rte_intr_handle *handle, int fd);
int rte_intr_type_set(struct rte_intr_handle *handle, int type);
int rte_intr_callback_register(const struct rte_intr_handle *handle, rte_intr_callback_fn callback,
			       void *argument);
int rte_intr_callback_unregister(const struct rte_intr_handle *handle,
				 rte_intr_callback_fn callback, void *argument);
int rte_intr_callback_unregister_pending(const struct rte_intr_handle *handle,
					 rte_intr_callback_fn callback, void *argument,
					 rte_intr_unregister_callback_fn unregistered);
int rte_thread_is_intr(void);

#endif /* RTE_INTERRUPTS_H */
