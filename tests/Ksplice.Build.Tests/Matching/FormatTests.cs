// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;

namespace Ksplice.Build.Tests.Matching;

public class FormatTests
{
    [Fact]
    public async Task Format_h_and_MatchFormat_have_the_same_values_and_layouts()
    {
        StringBuilder program = new(
            "#include <stdio.h>\n#include <stddef.h>\n#include <ksplice/match.h>\n#include <ksplice/format.h>\nint main(void) {\n"
        );
        List<string> expected = [];
        Value("KSP_MATCH_VERSION", MatchFormat.Version);
        Value("KSP_NONE", MatchFormat.None);
        Value("KSP_MAX_NOPS", MatchFormat.MaximalNops);
        Value("KSP_JUMP_SIZE", MatchFormat.JumpSize);
        Value("KSP_SHOWN", MatchFormat.Shown);
        Value("KSP_MATCH_MAGIC", (long)MatchFormat.Magic);
        Value("KSP_SYMBOL_NAMED", (long)SymbolFlags.Named);
        Value("KSP_SYMBOL_BY_NAME", (long)SymbolFlags.ByName);
        Value("KSP_SYMBOL_GLOBAL", (long)SymbolFlags.Global);
        Value("KSP_SYMBOL_CALLED", (long)SymbolFlags.Called);
        Value("KSP_OBJECT_REPLACED", (long)ObjectFlags.Replaced);
        Value("KSP_OBJECT_OPTIONAL", (long)ObjectFlags.Optional);
        Value("KSP_OBJECT_ENDS_IN_CALL", (long)ObjectFlags.EndsInCall);
        Value("KSP_PLACE_FIRST", (long)PlaceFlags.First);
        Value("KSP_PLACE_SAME", (long)PlaceFlags.Same);
        Value("KSP_PLACE_WEAK", (long)PlaceFlags.Weak);
        Names<OpCode>(
            "KSP_OP_",
            "LITERAL FIELD BRANCH NOPS LABEL FENTRY ALTERNATIVE VARIANT PARAVIRT LOCK JUMP_LABEL STATIC_CALL KEY RETPOLINE "
                + "RETURN ENDBR BUG EXCEPTION"
        );
        Names<BugKind>("KSP_BUG_", "NONE SHORT LONG");
        Value("KSP_BUG_FLAGS", BugEntry.ComparedFlags);
        Names<FieldKind>("KSP_FIELD_", "ABS64 ABS32 ABS32S PC32 PC64 ABS8");
        Names<BranchKind>("KSP_BRANCH_", "JMP CALL LOOPNE LOOPE LOOP JRCXZ CS_JMP CS_CALL");
        Names<SymbolKind>("KSP_SYMBOL_", "PLAIN CONTENT");
        Names<SymbolRole>(
            "KSP_ROLE_",
            "NONE RETURN_THUNK STATIC_RETURN0 STATIC_RETURN PARAVIRT_NOP PARAVIRT_BUG RETURN_POINTER CALL_COUNT CALL_THUNKS JUMP_THUNKS"
        );
        Names<ObjectKind>("KSP_OBJECT_", "TEXT DATA");
        Names<MatchReason>(
            "KSP_",
            "MATCHED BAD_DATA NO_MEMORY NO_CANDIDATE DIFFERENT AMBIGUOUS UNREADABLE PROBED CONFLICT UNRESOLVED NO_ROOM "
                + "NOT_IN_SEQUENCE SEALED"
        );
        Layout<MatchHeader>(
            "ksp_header",
            "magic version size symbols n_symbols objects n_objects ops n_ops places n_places bytes n_bytes names n_names "
                + "n_exports n_functions"
        );
        Layout<MatchSymbol>("ksp_symbol", "name kind role flags export object content content_size");
        Layout<MatchObject>("ksp_object", "symbol name unit size op n_ops function place kind flags reserved");
        Layout<MatchPlace>("ksp_place", "name flags");
        Layout<MatchOp>("ksp_op", "op kind length symbol value");
        program.Append("return 0; }\n");

        var folder = Directory.CreateTempSubdirectory("ksplice-format-");
        try
        {
            string source = Path.Combine(folder.FullName, "format.c"),
                binary = Path.Combine(folder.FullName, "format");
            await File.WriteAllTextAsync(source, program.ToString(), TestContext.Current.CancellationToken);
            await Cli.Wrap("gcc")
                .WithArguments(["-I", Repository.At("src", "Ksplice.Kernel", "include"), source, "-o", binary])
                .ExecuteAsync(TestContext.Current.CancellationToken);
            var shown = await Cli.Wrap(binary).ExecuteBufferedAsync(TestContext.Current.CancellationToken);
            Assert.Equal(expected, shown.StandardOutput.TrimEnd().Split('\n'));
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        void Value(string name, long value)
        {
            program.Append(CultureInfo.InvariantCulture, $"printf(\"%s %lld\\n\", \"{name}\", (long long){name});\n");
            expected.Add(string.Create(CultureInfo.InvariantCulture, $"{name} {value}"));
        }

        void Names<T>(string prefix, string names)
            where T : struct, Enum
        {
            var values = Enum.GetValues<T>();
            string[] all = names.Split(' ');
            Assert.Equal(values.Length, all.Length);
            for (int i = 0; i < all.Length; i++)
                Value(prefix + all[i], Convert.ToInt64(values[i], CultureInfo.InvariantCulture));
        }

        void Layout<T>(string type, string members)
        {
            Value($"sizeof(struct {type})", Marshal.SizeOf<T>());
            var fields = typeof(T).GetFields();
            string[] all = members.Split(' ');
            Assert.Equal(fields.Length, all.Length);
            for (int i = 0; i < all.Length; i++)
                Value($"offsetof(struct {type}, {all[i]})", (long)Marshal.OffsetOf<T>(fields[i].Name));
        }
    }
}
