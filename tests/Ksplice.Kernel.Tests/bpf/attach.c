// SPDX-License-Identifier: GPL-2.0
/*
 * Attaches an empty BPF program to the entry and one to the exit of a function
 * of the kernel, and for each line of its input tells how often each has run.
 * Ends with its input.
 *
 * usage: attach FUNCTION     kernel.bpf_stats_enabled has to be 1
 */
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static long bpf(int command, union bpf_attr *attr, size_t size)
{
	long result = syscall(SYS_bpf, command, attr, size);

	if (result < 0) {
		perror("bpf");
		exit(1);
	}
	return result;
}

/* What follows a type's struct btf_type. */
static size_t tail_of(const struct btf_type *type)
{
	size_t n = BTF_INFO_VLEN(type->info);

	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_INT: return sizeof(__u32);
	case BTF_KIND_ARRAY: return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION: return n * sizeof(struct btf_member);
	case BTF_KIND_ENUM: return n * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64: return n * 12;
	case BTF_KIND_FUNC_PROTO: return n * sizeof(struct btf_param);
	case BTF_KIND_VAR: return sizeof(struct btf_var);
	case BTF_KIND_DATASEC: return n * sizeof(struct btf_var_secinfo);
	case BTF_KIND_DECL_TAG: return sizeof(struct btf_decl_tag);
	default: return 0;
	}
}

static __u32 find_function(const char *name)
{
	static char bytes[16 << 20];
	const struct btf_header *header = (void *)bytes;
	int file = open("/sys/kernel/btf/vmlinux", O_RDONLY);
	const char *at, *end, *names;
	size_t size = 0;
	ssize_t part;
	__u32 id;

	while ((part = read(file, bytes + size, sizeof(bytes) - size)) > 0)
		size += part;
	if (size < sizeof(*header) || header->magic != BTF_MAGIC) {
		fprintf(stderr, "no BTF\n");
		exit(1);
	}
	at = bytes + header->hdr_len + header->type_off;
	end = at + header->type_len;
	names = bytes + header->hdr_len + header->str_off;
	for (id = 1; at < end; id++) {
		const struct btf_type *type = (const void *)at;

		if (BTF_INFO_KIND(type->info) == BTF_KIND_FUNC && !strcmp(names + type->name_off, name))
			return id;
		at += sizeof(*type) + tail_of(type);
	}
	fprintf(stderr, "no function %s\n", name);
	exit(1);
}

static int attach(__u32 function, enum bpf_attach_type type)
{
	static char log[1 << 16];
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },	/* r0 = 0 */
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_TRACING, .expected_attach_type = type, .attach_btf_id = function,
		.insns = (unsigned long)code, .insn_cnt = 2, .license = (unsigned long)"GPL",
		.log_buf = (unsigned long)log, .log_size = sizeof(log), .log_level = 1,
	};
	int program = bpf(BPF_PROG_LOAD, &load, sizeof(load));
	union bpf_attr open = { .raw_tracepoint.prog_fd = program };

	bpf(BPF_RAW_TRACEPOINT_OPEN, &open, sizeof(open));
	return program;
}

static unsigned long long runs(int program)
{
	struct bpf_prog_info info = {};
	union bpf_attr attr = { .info = { .bpf_fd = program, .info_len = sizeof(info), .info = (unsigned long)&info } };

	bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));
	return info.run_cnt;
}

int main(int argc, char **argv)
{
	__u32 function = find_function(argc > 1 ? argv[1] : "");
	int entry = attach(function, BPF_TRACE_FENTRY), exit = attach(function, BPF_TRACE_FEXIT);
	char line[16];

	printf("attached\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		printf("%llu %llu\n", runs(entry), runs(exit));
		fflush(stdout);
	}
	return 0;
}
