/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that has nothing to do with DPDK: times a loop of computing, system calls, memory, threads
 * and forks, and prints the nanoseconds of each, one word and one number a line.
 */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void compute(void)
{
	volatile uint64_t sum = 1;

	for (int i = 0; i < 2000000; i++)
		sum = sum * 6364136223846793005u + 1442695040888963407u;
}

static void call_kernel(void)
{
	for (int i = 0; i < 20000; i++)
		syscall(SYS_getppid);
}

static void allocate(void)
{
	static void *volatile blocks[64];

	for (unsigned int i = 0; i < 200000; i++) {
		free(blocks[i % 64]);
		blocks[i % 64] = malloc(16 + i % 1000);
	}
}

static void *nothing(void *arg)
{
	return arg;
}

static void start_threads(void)
{
	for (int i = 0; i < 200; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, nothing, NULL) != 0)
			exit(1);
		pthread_join(thread, NULL);
	}
}

static void start_processes(void)
{
	for (int i = 0; i < 50; i++) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		if (child < 0 || waitpid(child, NULL, 0) != child)
			exit(1);
	}
}

static void time_it(const char *name, void (*work)(void))
{
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	work();
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%s %lld\n", name,
	       (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec);
}

int main(void)
{
	time_it("compute", compute);
	time_it("syscalls", call_kernel);
	time_it("malloc", allocate);
	time_it("threads", start_threads);
	time_it("forks", start_processes);
	return 0;
}
