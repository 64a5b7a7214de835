/* SPDX-License-Identifier: BSD-3-Clause */
/* What the suites use of DPDK's header of this name, as the fake EAL has it. */
#ifndef RTE_EAL_H
#define RTE_EAL_H

enum rte_proc_type_t {
	RTE_PROC_PRIMARY,
	RTE_PROC_SECONDARY,
};

enum rte_proc_type_t rte_eal_process_type(void);

#endif /* RTE_EAL_H */
