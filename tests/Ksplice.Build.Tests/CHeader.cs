// SPDX-License-Identifier: MIT
// Values and layouts of a header of src/Ksplice.Kernel/include as gcc sees them, beside those that C# has.
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using CliWrap;
using CliWrap.Buffered;

namespace Ksplice.Build.Tests;

/// <summary>Collects what C# has, then compares all of it with the <paramref name="headers"/>.</summary>
internal sealed class CHeader(params string[] headers)
{
    // Where a header is built in user space: the kernel's names of integers.
    private const string Types =
        "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\ntypedef uint8_t u8;\ntypedef uint16_t u16;\n"
        + "typedef uint32_t u32;\ntypedef uint64_t u64;\ntypedef int32_t s32;\ntypedef int64_t s64;\n";

    private readonly List<(string Name, long Value)> _expected = [];

    /// <summary>An expression of C and its value.</summary>
    public void Value(string expression, long value) => _expected.Add((expression, value));

    /// <summary>The members of an enumeration; <paramref name="names"/> are those of C without their prefix, in the same order.</summary>
    public void Names<T>(string prefix, string names)
        where T : struct, Enum
    {
        var values = Enum.GetValues<T>();
        string[] all = names.Split(' ');
        Assert.Equal(values.Length, all.Length);
        for (int i = 0; i < all.Length; i++)
            Value(prefix + all[i], Convert.ToInt64(values[i], CultureInfo.InvariantCulture));
    }

    /// <summary>
    /// The size of a struct, and where each of its members stands; <paramref name="members"/> are those of C in the same order.
    /// </summary>
    public void Layout<T>(string type, string members)
        where T : unmanaged
    {
        Value($"sizeof(struct {type})", Marshal.SizeOf<T>());
        var fields = typeof(T).GetFields();
        string[] all = members.Split(' ');
        Assert.Equal(fields.Length, all.Length);
        for (int i = 0; i < all.Length; i++)
            Value($"offsetof(struct {type}, {all[i]})", (long)Marshal.OffsetOf<T>(fields[i].Name));
    }

    /// <summary>Fails the test where gcc says otherwise.</summary>
    public async Task CompareAsync()
    {
        var cancellation = TestContext.Current.CancellationToken;
        StringBuilder program = new("#include <stdio.h>\n#include <stddef.h>\n");
        foreach (string header in headers)
            program.Append("#include <").Append(header).Append(">\n");
        program.Append("int main(void) {\n");
        foreach (var (name, _) in _expected)
            program.Append(CultureInfo.InvariantCulture, $"printf(\"%s %lld\\n\", \"{name}\", (long long){name});\n");
        program.Append("return 0; }\n");
        var folder = Directory.CreateTempSubdirectory("ksplice-header-");
        try
        {
            string source = Path.Combine(folder.FullName, "header.c"),
                binary = Path.Combine(folder.FullName, "header"),
                types = Path.Combine(folder.FullName, "linux", "types.h");
            Directory.CreateDirectory(Path.GetDirectoryName(types)!);
            await File.WriteAllTextAsync(types, Types, cancellation);
            await File.WriteAllTextAsync(source, program.ToString(), cancellation);
            await Cli.Wrap("gcc")
                .WithArguments(["-I", folder.FullName, "-I", Repository.At("src", "Ksplice.Kernel", "include"), source, "-o", binary])
                .ExecuteAsync(cancellation);
            var shown = await Cli.Wrap(binary).ExecuteBufferedAsync(cancellation);
            Assert.Equal(
                _expected.Select(one => string.Create(CultureInfo.InvariantCulture, $"{one.Name} {one.Value}")),
                shown.StandardOutput.TrimEnd().Split('\n')
            );
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
