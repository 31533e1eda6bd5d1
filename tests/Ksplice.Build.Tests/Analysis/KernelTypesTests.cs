// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Build.Tests.Kernel;
using Ksplice.Build.Tests.Patching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Analysis;

/// <summary>A unit of the stock kernel, patched through a post tree of the whole source, and the image's own types.</summary>
public sealed class KernelTypesTests : IDisposable
{
    private const string Unit = "lib/kobject.c";
    private readonly TestTree _tree = new();

    public void Dispose() => _tree.Dispose();

    private async Task<ElfObject> CompileAsync(PreparedKernel kernel, string root, string name)
    {
        var bag = new DiagnosticBag();
        var compiled = await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
            kernel.Units.Find(Unit)!,
            root,
            _tree[name],
            [],
            bag,
            TestContext.Current.CancellationToken
        );
        Assert.True(compiled is not null, string.Join('\n', bag));
        return ElfObject.Read(File.ReadAllBytes(compiled.Object), name);
    }

    private PostTree Patch(string root, string path, Func<string, string> change)
    {
        var original = File.ReadAllText(Path.Combine(root, path));
        _tree.Write("a/" + path, original);
        _tree.Write("b/" + path, change(original));
        var (_, diff) = _tree.Run("diff", "-u", "a/" + path, "b/" + path);
        var bag = new DiagnosticBag();
        var post = PostTree.Write(
            root,
            _tree["post"],
            [Patches.Parse(diff)],
            bag,
            cancellationToken: TestContext.Current.CancellationToken
        );
        Assert.True(post is not null, string.Join('\n', bag));
        return post;
    }

    private static string AfterFirst(string text, string mark, string added)
    {
        var at = text.IndexOf(mark, StringComparison.Ordinal);
        Assert.True(at >= 0, $"no '{mark}'");
        return text.Insert(at + mark.Length, added);
    }

    private static SortedDictionary<string, string> Code(ElfObject value) =>
        new(
            value
                .Sections.Where(section => section.Name.StartsWith(".text.", StringComparison.Ordinal) || section.Name == "__bug_table")
                .ToDictionary(section => section.Name, section => Convert.ToHexString(section.Data.Span)),
            StringComparer.Ordinal
        );

    [Fact]
    public async Task Lines_added_to_one_function_leave_all_others_and_all_types_as_they_are()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        var post = Patch(kernel.SourceDirectory, Unit, text =>
            AfterFirst(text, "const void *kobject_namespace(struct kobject *kobj)\n{\n", "\tif (!kobj)\n\t\treturn NULL;\n\n")
        );
        var (before, after) = (
            await CompileAsync(kernel, kernel.SourceDirectory, "pre.o"),
            await CompileAsync(kernel, post.Root, "post.o")
        );
        var (pre, now) = (Code(before), Code(after));
        Assert.Contains("__bug_table", pre.Keys);
        Assert.Equal(pre.Keys, now.Keys);
        var changed = pre.Keys.Where(name => pre[name] != now[name]).ToList();
        Assert.Contains(".text.kobject_namespace", changed);
        Assert.DoesNotContain("__bug_table", changed);
        Assert.True(changed.Count < 5, string.Join(' ', changed));

        var bag = new DiagnosticBag();
        Assert.True(TypeVerdict.Compare(before, after, Unit, bag), string.Join('\n', bag));
    }

    [Fact]
    public async Task A_member_added_to_a_header_is_named_in_a_unit_that_includes_it()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        var post = Patch(kernel.SourceDirectory, "include/linux/kobject.h", text =>
            AfterFirst(text, "struct kobject {\n", "\tlong\t\t\tadded;\n")
        );
        var (before, after) = (
            await CompileAsync(kernel, kernel.SourceDirectory, "pre.o"),
            await CompileAsync(kernel, post.Root, "post.o")
        );
        var bag = new DiagnosticBag();
        Assert.False(TypeVerdict.Compare(before, after, Unit, bag));
        Assert.Contains(bag, report => report.Id == "KSP5001" && report.Message.Contains("struct kobject ", StringComparison.Ordinal));
        Assert.Contains(bag, report =>
            report.Id == "KSP5002"
            && report.Message.Contains("struct kobject: member 'added' is added at offset 0", StringComparison.Ordinal)
        );
        Assert.Contains(bag, report =>
            report.Id == "KSP5002"
            && report.Message.Contains("struct kobject: member 'name' moves from offset 0 to 8", StringComparison.Ordinal)
        );
    }

    [Fact]
    public async Task The_image_has_types_of_its_own_and_they_are_those_of_the_unit()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        var image = BtfReader.Read(KernelUnderTest.Image)!;
        Assert.True(image.Count > 50_000, $"{image.Count} types");
        var unit = BtfReader.Read(await CompileAsync(kernel, kernel.SourceDirectory, "pre.o"))!;
        foreach (var name in new[] { "task_struct", "kobject", "file", "sock" })
        {
            var (ours, theirs) = (Find(unit, name), Find(image, name));
            if (ours == 0)
                continue;
            Assert.Equal(image.SizeOf(theirs), unit.SizeOf(ours));
            Assert.Equal(
                image.Members(theirs).Select(member => (member.Name, member.BitOffset, member.BitFieldSize)),
                unit.Members(ours).Select(member => (member.Name, member.BitOffset, member.BitFieldSize))
            );
        }
        Assert.NotEqual(0, Find(unit, "kobject"));
    }

    private static int Find(BtfTypes types, string name) =>
        Enumerable.Range(1, types.Count - 1).FirstOrDefault(id => types.KindOf(id) == BtfKind.Struct && types.NameOf(id) == name);
}
