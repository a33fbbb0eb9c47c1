/* SPDX-License-Identifier: Apache-2.0 */
/* What a process has used of processor and memory: ours, and the authority's, by what /proc says of it. */
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>

#include "load.h"

double load_cpu_s(void) {
        struct rusage usage;

        getrusage(RUSAGE_SELF, &usage);
        return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

double process_cpu_s(uint32_t pid) {
        char path[300];
        unsigned long long ns, sum_ns = 0;
        struct dirent *entry;
        DIR *tasks;

        snprintf(path, sizeof path, "/proc/%u/task", pid);
        tasks = opendir(path);
        while (tasks && (entry = readdir(tasks))) {
                FILE *file;

                snprintf(path, sizeof path, "/proc/%u/task/%.64s/schedstat", pid, entry->d_name);
                file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
                if (file && fscanf(file, "%llu", &ns) == 1)
                        sum_ns += ns;
                if (file)
                        fclose(file);
        }
        if (tasks)
                closedir(tasks);
        return (double)sum_ns / 1e9;
}

uint64_t process_octets(uint32_t pid) {
        unsigned long long kib = 0;
        char line[256];
        FILE *file;

        snprintf(line, sizeof line, "/proc/%u/status", pid);
        file = fopen(line, "r");
        while (file && fgets(line, sizeof line, file) && sscanf(line, "RssAnon: %llu", &kib) != 1)
                ;
        if (file)
                fclose(file);
        return kib * 1024;
}
