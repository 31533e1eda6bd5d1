// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Tests.Patching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>Who reads a file: text tells who can, the preprocessor who does, each unit once. On a tree of a few files.</summary>
public sealed class IncludeIndexTests : IDisposable
{
    private readonly TestTree _tree = new();

    public IncludeIndexTests()
    {
        Directory.CreateDirectory(_tree["made/output"]);
        _tree.Write("include/all.h", "");
        _tree.Write("other.c", "int other;\n");
    }

    public void Dispose() => _tree.Dispose();

    [Theory]
    [InlineData("#include \"x.h\"")]
    [InlineData("#include <lib/x.h>")]
    [InlineData("/* a comment\n that ends */ # include \\\n <lib/x.h>")]
    [InlineData("#define WHICH <lib/x.h>\n#include WHICH")]
    // Nothing in the text is the file's name.
    [InlineData("#define TEXT(x) #x\n#define QUOTED(x) TEXT(x)\n#define WHICH QUOTED(lib/x.h)\n#include WHICH")]
    public async Task A_file_is_read_by_who_includes_it_however_it_is_written(string include)
    {
        string header = include.Contains("lib", StringComparison.Ordinal) ? "include/lib/x.h" : "x.h";
        _tree.Write(header, "");
        _tree.Write("unit.c", include + "\n");
        Assert.Equal(["unit.o"], await UsersAsync(header));
        Assert.Equal(["unit.o"], Told());
    }

    [Fact]
    public async Task A_trace_header_that_is_included_again_under_another_name_is_read()
    {
        _tree.Write(
            "include/trace/define_trace.h",
            """
            #define TEXT(x) #x
            #define QUOTED(x) TEXT(x)
            #define TRACE_INCLUDE(file) QUOTED(TRACE_INCLUDE_PATH/file.h)
            #include TRACE_INCLUDE(TRACE_INCLUDE_FILE)
            """
        );
        _tree.Write("trace.h", "#define TRACE_INCLUDE_PATH ../..\n#define TRACE_INCLUDE_FILE events\n#include <trace/define_trace.h>\n");
        _tree.Write("events.h", "");
        _tree.Write("unit.c", "#include \"trace.h\"\n");
        Assert.Equal(["unit.o"], await UsersAsync("events.h"));
        Assert.Equal(["unit.o"], Told());
    }

    [Fact]
    public async Task A_name_in_quotes_means_the_file_beside_and_no_other()
    {
        _tree.Write("x.h", "");
        _tree.Write("include/x.h", "");
        _tree.Write("unit.c", "#include \"x.h\"\n");
        Assert.Empty(await UsersAsync("include/x.h"));
        Assert.Empty(Told());
    }

    [Fact]
    public async Task Who_can_read_a_file_and_does_not_is_asked_and_left_out()
    {
        _tree.Write("x.h", "");
        _tree.Write("unit.c", "#ifdef NEVER\n#include \"x.h\"\n#endif\n");
        Assert.Empty(await UsersAsync("x.h"));
        Assert.Equal(["unit.o"], Told());
    }

    [Fact]
    public async Task A_unit_that_cannot_be_preprocessed_counts_where_another_reads_the_file()
    {
        _tree.Write("x.h", "");
        _tree.Write("unit.c", "#include \"x.h\"\n#error none\n");
        _tree.Write("other.c", "#include \"x.h\"\n");
        Assert.Equal(["other.o", "unit.o"], await UsersAsync("x.h"));
    }

    [Fact]
    public async Task What_a_command_includes_is_read_by_its_unit()
    {
        _tree.Write("unit.c", "");
        Assert.Equal(["other.o", "unit.o"], await UsersAsync("include/all.h"));
    }

    [Fact]
    public async Task What_was_told_is_kept_up_to_where_it_was_interrupted()
    {
        _tree.Write("x.h", "");
        _tree.Write("unit.c", "#include \"x.h\"\n");
        _tree.Write("other.c", "#include \"x.h\"\n");
        Assert.Equal(["other.o", "unit.o"], await UsersAsync("x.h"));
        string whole = _tree.Read("made/includes.txt");
        string kept = whole[..(whole.LastIndexOf("unit ", StringComparison.Ordinal))];
        foreach (string left in new[] { kept + "unit uni", "no text of ours\n", kept + "unit unit.o 99\n" })
        {
            _tree.Write("made/includes.txt", left);
            Assert.Equal(["other.o", "unit.o"], await UsersAsync("x.h"));
            Assert.Equal(["other.o", "unit.o"], Told());
        }
    }

    [Fact]
    public async Task Two_that_ask_at_once_ask_each_unit_once()
    {
        _tree.Write("x.h", "");
        _tree.Write("unit.c", "#include \"x.h\"\n");
        _tree.Write("other.c", "#include \"x.h\"\n");
        var answers = await Task.WhenAll(UsersAsync("x.h"), UsersAsync("x.h"));
        Assert.All(answers, answer => Assert.Equal(["other.o", "unit.o"], answer));
        Assert.Equal(["other.o", "unit.o"], Told());
    }

    private IEnumerable<string> Told() =>
        File.Exists(_tree["made/includes.txt"])
            ? _tree
                .Read("made/includes.txt")
                .Split('\n')
                .Where(line => line.StartsWith("unit ", StringComparison.Ordinal))
                .Select(line => line.Split(' ')[1])
                .Order(StringComparer.Ordinal)
            : [];

    // The units are unit.c and other.c.
    private async Task<List<string>> UsersAsync(string path)
    {
        var cancellation = TestContext.Current.CancellationToken;
        var commands = new[] { "other", "unit" }.Select(name =>
            $"gcc -D__KERNEL__ -fno-pie -mcmodel=kernel -I{_tree["include"]} -include {_tree["include/all.h"]} "
            + $"-c -o {name}.o {_tree[name + ".c"]}"
        );
        var kernel = (await KernelUnderTest.PreparedAsync()) with
        {
            SourceDirectory = _tree.Root,
            OutputDirectory = _tree["made/output"],
            Units = UnitDatabase.Parse(commands, _tree.Root),
        };
        var includes = await IncludeIndex.OpenAsync(kernel, NullLogger.Instance, cancellation);
        DiagnosticBag bag = [];
        var users = await includes.UsersOfAsync(path, bag, cancellation);
        Assert.Empty(bag);
        return [.. users!.Select(unit => unit.Object)];
    }
}
