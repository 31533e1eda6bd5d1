// SPDX-License-Identifier: MIT
// match/*.c and Matching/Interpreter/*.cs can be read side by side: the same files, and in them functions of the same names.
using System.Globalization;
using System.Text.RegularExpressions;

namespace Ksplice.Build.Tests.Matching;

public sealed partial class InterpreterTwinTests
{
    private const string Callback = "a callback for each address of a name; in C# the surroundings return them all";

    private static readonly Dictionary<string, string> OnlyInC = new()
    {
        ["match.MatchFree"] = "memory is collected",
        ["settle.AddCandidate"] = Callback,
        ["symbols.CompareCandidate"] = Callback,
        ["symbols.CountCandidate"] = Callback,
        ["symbols.CodeOf"] = "no update is in place in what the build looks at",
    };

    private static readonly Dictionary<string, string> OnlyInCSharp = new()
    {
        ["data.CheckOp"] = "the body of check_ops' loop",
        ["data.CheckTables"] = "the half of ksp_check_data that reads the tables",
        ["match.Locate"] = "for mutations, which the kernel does not make",
        ["neighbours.Has"] = "tests a flag",
        ["sites.IsPatchedParavirt"] = "what ksp_walk_paravirt does behind its first goto",
        ["symbols.CandidatesOf"] = "looks the addresses of a name up once",
    };

    // A definition begins in the first column, and its body on a line of its own.
    [GeneratedRegex(@"^(?:static )?(?:const )?(?:enum |struct )?\w+ \*?(\w+)\([^;{}]*\)\n\{", RegexOptions.Multiline)]
    private static partial Regex CFunction();

    // As CSharpier lays it out: a member of a class of the namespace.
    [GeneratedRegex(@"^    (?:public |private |internal )(?:static )?[\w<>?\[\]]+ (\w+)(?:<\w+>)?\(", RegexOptions.Multiline)]
    private static partial Regex CSharpMethod();

    [Fact]
    public void Each_function_of_the_C_interpreter_has_its_twin_in_the_file_of_the_same_name()
    {
        var c = Functions(Repository.At("src", "Ksplice.Kernel", "match"), "*.c", CFunction(), TwinOf);
        var sharp = Functions(Repository.At("src", "Ksplice.Build", "Matching", "Interpreter"), "*.cs", CSharpMethod(), name => name);
        // The state that the files share is no function: internal.h.
        Assert.Empty(sharp["internal"].Except(["Symbol", "Object", "Place", "OpsOf", "Name", "NameBytes", "Table"]));
        sharp.Remove("internal");
        Assert.Equal(c.Keys.Order(StringComparer.Ordinal), sharp.Keys.Order(StringComparer.Ordinal));
        Assert.True(c.Values.Sum(names => names.Count) > 70, "the functions of match/*.c are not found");

        string[] all = Qualified(c),
            twins = Qualified(sharp);
        Assert.Equal(OnlyInC.Keys.Order(StringComparer.Ordinal), all.Except(twins).Order(StringComparer.Ordinal));
        Assert.Equal(OnlyInCSharp.Keys.Order(StringComparer.Ordinal), twins.Except(all).Order(StringComparer.Ordinal));
    }

    private static Dictionary<string, HashSet<string>> Functions(string folder, string files, Regex function, Func<string, string> name) =>
        Directory
            .GetFiles(folder, files)
            .ToDictionary(
                file => Path.GetFileNameWithoutExtension(file).ToLowerInvariant(),
                file => function.Matches(File.ReadAllText(file)).Select(match => name(match.Groups[1].Value)).ToHashSet()
            );

    private static string[] Qualified(Dictionary<string, HashSet<string>> functions) =>
        [.. functions.SelectMany(file => file.Value.Select(name => $"{file.Key}.{name}"))];

    // ksp_walk_lock is WalkLock.
    private static string TwinOf(string function) =>
        string.Concat(
            function
                .Split('_')
                .Where(word => word != "ksp")
                .Select(word =>
                    word switch
                    {
                        "u64" => nameof(UInt64),
                        "s32" => nameof(Int32),
                        _ => CultureInfo.InvariantCulture.TextInfo.ToTitleCase(word),
                    }
                )
        );
}
