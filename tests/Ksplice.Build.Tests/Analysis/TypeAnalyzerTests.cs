// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Analysis;

public class TypeAnalyzerTests
{
    private const string Fair = "kernel/sched/fair.c";

    [Fact]
    public async Task A_type_on_the_stacks_of_replaced_functions_is_no_hazard()
    {
        var update = await PatchedKernel.ChangeAsync([Fair], (Fair, "struct lb_env {\n", "struct lb_env {\n\tunsigned long\t\tadded;\n"));
        var found = update.Analyze();
        Assert.DoesNotContain(found, diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);
        Assert.Contains(found, diagnostic =>
            diagnostic.Id == "KSP5009" && diagnostic.Message.Contains("load_balance", StringComparison.Ordinal)
        );
        Assert.All(found.Where(diagnostic => diagnostic.Id == "KSP5009"), diagnostic =>
            Assert.Equal(Fair, LineDirectives.PathOf(diagnostic.Location!.Path))
        );
    }

    // What keeps objects alive beyond the calls of replaced functions, each by itself.
    [Theory]
    [InlineData("", true)]
    [InlineData("int unchanged(int *p) { return p[1]; }", true)]
    [InlineData(
        "static int b(struct env *e) { return e->b; } static noinline int pass(struct env *e, int n) { return work(e, n) + b(e); } "
            + "int outer(int n) { struct env e = { .a = n }; use(&e); return pass(&e, n); }",
        true
    )]
    [InlineData("static struct env kept; void keep(void) { use(&kept); }", false)]
    [InlineData("static struct env *kept; void keep(void) { kept->a++; }", false)]
    [InlineData("struct holder { struct env *e; }; int held(struct holder *h) { return h->e->a; }", false)]
    [InlineData("void *alloc(int); void made(void) { work((struct env *)alloc(8), 1); }", false)]
    [InlineData("void from(void *data) { work(data, 1); }", false)]
    [InlineData("int other(void) { int size = sizeof(struct env); return size; }", false)]
    [InlineData("void handed(void) { use(work); }", false)]
    [InlineData("noinline int global(struct env *env) { return env->a; }", false)]
    // Without a variable or parameter of the type.
    [InlineData("int cast(void *data) { return ((struct env *)data)->b; }", false)]
    [InlineData("void room(void) { char room[64]; use(room); work((void *)room, 1); }", false)]
    // Beside one.
    [InlineData("static int b(struct env *e) { return e->b; } int inlined(void *data) { return b(data); }", false)]
    [InlineData(
        "static noinline int both(struct env *e, void *data) { return probe(e->a) + ((struct env *)data)->b; } "
            + "int outer(void *data) { struct env e = { .a = 1 }; use(&e); return both(&e, data); }",
        false
    )]
    [InlineData(
        "static noinline int other(struct env *e, void *data) { int n = probe(e->a); e = data; return n + probe(e->b); } "
            + "int outer(void *data) { struct env e = { .a = 1 }; use(&e); return other(&e, data); }",
        false
    )]
    [InlineData("int copies(void *data) { struct env e; __builtin_memcpy(&e, data, sizeof(e)); use(&e); return work(&e, 1); }", false)]
    public void A_type_that_may_live_elsewhere_is_one(string also, bool onStacks)
    {
        const string source = """
            struct env { long a; long b; };
            static noinline int work(struct env *env, int n) { return probe(n) + env->a + env->b; }
            int balance(int n) { struct env env = { .a = n, .b = 2 }; use(&env); return work(&env, n); }

            """;
        string all = source + also;
        var found = PatchedKernel
            .OfC(all, all.Replace("long a; long b;", "long added; long a; long b;", StringComparison.Ordinal))
            .Analyze();
        if (onStacks)
            Assert.All(found, diagnostic => Assert.Equal("KSP5009", diagnostic.Id));
        else
            Assert.Contains(found, diagnostic => diagnostic.Id is "KSP5001" or "KSP5002");
        Assert.NotEmpty(found);
    }

    // Where the compiler keeps a member's place, old and new code do the same with what they share.
    [Theory]
    [InlineData("", true)]
    [InlineData(
        "static noinline int both(struct env *e, void *data) { return probe(e->a) + ((struct env *)data)->b; } "
            + "int outer(void *data) { struct env e = { .a = 1 }; use(&e); return both(&e, data); }",
        false
    )]
    public void A_new_member_is_found_where_it_is_used(string also, bool onStacks)
    {
        const string source = """
            struct env { long a; long b; };
            static noinline int work(struct env *env, int n) { return probe(n) + env->a + env->b; }
            int balance(int n) { struct env env = { .a = n, .b = 2 }; use(&env); return work(&env, n); }

            """;
        string all = source + also;
        var found = PatchedKernel
            .OfC(
                all,
                all.Replace("long b;", "long b; long added;", StringComparison.Ordinal)
                    .Replace("+ env->b", "+ env->added", StringComparison.Ordinal)
                    .Replace("data)->b", "data)->added", StringComparison.Ordinal)
            )
            .Analyze();
        Assert.Equal(onStacks, found.All(diagnostic => diagnostic.Id == "KSP5009"));
        Assert.NotEmpty(found);
    }

    [Fact]
    public async Task A_type_is_shown_where_it_is_declared()
    {
        var update = await PatchedKernel.ChangeAsync(
            ["kernel/printk/printk.c"],
            ("kernel/printk/printk.c", "struct devkmsg_user {\n", "struct devkmsg_user {\n\tlong more;\n")
        );
        var found = update.Analyze();
        var size = found.Of("KSP5001");
        Assert.Equal(("struct devkmsg_user", "kernel/printk/printk.c"), (size.Object, size.Location!.Path));
        Assert.True(size.Location.Line > 1 && size.Location.Column > 0, size.Location.ToString());
        string[] source = await File.ReadAllLinesAsync(
            Path.Combine(update.SourceRoot!, "kernel/printk/printk.c"),
            TestContext.Current.CancellationToken
        );
        Assert.Contains("struct devkmsg_user", source[size.Location.Line - 1], StringComparison.Ordinal);
        Assert.Contains(found, diagnostic =>
            diagnostic.Id == "KSP5002" && diagnostic.Message.Contains("'more' is added at offset 0", StringComparison.Ordinal)
        );
    }

    [Fact]
    public async Task A_use_that_stays_is_named_with_its_place()
    {
        // An enum and an int are the same to the code that uses them.
        const string unit = "fs/proc/task_mmu.c";
        var update = await PatchedKernel.ChangeAsync([unit], (unit, "\tenum clear_refs_types type;\n};", "\tint type;\n};"));
        var member = update.Analyze().Of("KSP5002");
        Assert.Contains("functions that are not replaced use a member of that name", member.Message, StringComparison.Ordinal);
        Assert.Contains(member.Related, use => use.Message.StartsWith("clear_refs_test_walk ", StringComparison.Ordinal));
        string[] source = await File.ReadAllLinesAsync(Path.Combine(update.SourceRoot!, unit), TestContext.Current.CancellationToken);
        Assert.All(member.Related.Where(use => use.Location.Path == unit), use =>
            Assert.StartsWith("type", source[use.Location.Line - 1][(use.Location.Column - 1)..], StringComparison.Ordinal)
        );
    }

    // The image says who calls; the objects say which of them are compiled anew.
    [Fact]
    public void Callers_of_a_changed_prototype_are_found_in_the_image()
    {
        const string source = "void kobject_get_ownership(void *kobj, int *uid, int *gid) { use(kobj); }\n";
        List<Diagnostic> Found(string also) =>
            [
                .. new AnalyzedUpdate(
                    [],
                    PatchedKernel.OfC(source + also, source.Replace("int *gid", "int gid", StringComparison.Ordinal) + also).Units,
                    new RunningKernel(KernelUnderTest.Image, new Dictionary<string, string>(), KernelUnderTest.Configuration)
                ).Analyze(),
            ];
        var alone = Found("").Of("KSP5004");
        Assert.Contains("called by", alone.Message, StringComparison.Ordinal);
        Assert.Contains("sysfs_create_dir_ns", alone.Message, StringComparison.Ordinal);
        Assert.Equal("kobject_get_ownership", alone.Object);
        var callers = new ImageReferences(KernelUnderTest.Image).To(
            KernelUnderTest.Image.Symbols.FindUnique("kobject_get_ownership")!.Value
        );
        Assert.All(callers, caller => Assert.True(caller.IsBranch));
        string all = string.Concat(
            callers.Select(caller => caller.Holder).Distinct().Select(name => $"int {name}(void) {{ return 1; }}\n")
        );
        var told = Found(all);
        Assert.DoesNotContain(told, diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);
        told.Of("KSP5010");
    }

    [Fact]
    public void An_address_that_the_kernel_holds_is_a_use()
    {
        var references = new ImageReferences(KernelUnderTest.Image).To(KernelUnderTest.Image.Symbols.FindUnique("devkmsg_open")!.Value);
        Assert.Contains(references, reference => reference is { IsBranch: false, Holder: "kmsg_fops" });
    }

    [Theory]
    [InlineData("fs/open.c")]
    [InlineData("kernel/fork.c")]
    [InlineData("net/core/sock.c")]
    public async Task The_units_types_are_those_of_the_image(string unit)
    {
        var pre = BtfReader.Read(await KernelObjects.CompileAsync(unit))!;
        var image = BtfReader.Read(KernelUnderTest.Image)!;
        Assert.Empty(ImageTypes.Differences(pre, image));
    }

    [Fact]
    public void A_unit_of_another_configuration_is_told_from_the_image()
    {
        var unit = PatchedKernel
            .OfC("struct kobject { const char *name; long added; } it;", "struct kobject { const char *name; long added; } it;")
            .Units[0];
        var found = new AnalyzedUpdate(
            [],
            [unit],
            new RunningKernel(KernelUnderTest.Image, new Dictionary<string, string>(), KernelUnderTest.Configuration)
        ).Analyze();
        Assert.StartsWith("struct kobject is not", found.Of("KSP5008").Message, StringComparison.Ordinal);
    }
}
