// SPDX-License-Identifier: MIT
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;

namespace Ksplice.Build.Tests.Matching;

public class FormatTests
{
    [Fact]
    public async Task Format_h_and_MatchFormat_have_the_same_values_and_layouts()
    {
        CHeader header = new("ksplice/match.h", "ksplice/format.h");
        header.Value("KSP_MATCH_VERSION", MatchFormat.Version);
        header.Value("KSP_NONE", MatchFormat.None);
        header.Value("KSP_MAX_NOPS", MatchFormat.MaximalNops);
        header.Value("KSP_JUMP_SIZE", MatchFormat.JumpSize);
        header.Value("KSP_SHOWN", MatchFormat.Shown);
        header.Value("KSP_MATCH_MAGIC", (long)MatchFormat.Magic);
        header.Value("KSP_SYMBOL_NAMED", (long)SymbolFlags.Named);
        header.Value("KSP_SYMBOL_BY_NAME", (long)SymbolFlags.ByName);
        header.Value("KSP_SYMBOL_GLOBAL", (long)SymbolFlags.Global);
        header.Value("KSP_SYMBOL_CALLED", (long)SymbolFlags.Called);
        header.Value("KSP_OBJECT_REPLACED", (long)ObjectFlags.Replaced);
        header.Value("KSP_OBJECT_OPTIONAL", (long)ObjectFlags.Optional);
        header.Value("KSP_OBJECT_ENDS_IN_CALL", (long)ObjectFlags.EndsInCall);
        header.Value("KSP_PLACE_FIRST", (long)PlaceFlags.First);
        header.Value("KSP_PLACE_SAME", (long)PlaceFlags.Same);
        header.Value("KSP_PLACE_WEAK", (long)PlaceFlags.Weak);
        header.Names<OpCode>(
            "KSP_OP_",
            "LITERAL FIELD BRANCH NOPS LABEL FENTRY ALTERNATIVE VARIANT PARAVIRT LOCK JUMP_LABEL STATIC_CALL KEY RETPOLINE "
                + "RETURN ENDBR BUG EXCEPTION"
        );
        header.Names<BugKind>("KSP_BUG_", "NONE SHORT LONG FORMAT");
        header.Value("KSP_BUG_FLAGS", BugEntry.ComparedFlags);
        header.Names<FieldKind>("KSP_FIELD_", "ABS64 ABS32 ABS32S PC32 PC64 ABS8 BUG");
        header.Names<BranchKind>("KSP_BRANCH_", "JMP CALL LOOPNE LOOPE LOOP JRCXZ CS_JMP CS_CALL");
        header.Names<SymbolKind>("KSP_SYMBOL_", "PLAIN CONTENT");
        header.Names<SymbolRole>(
            "KSP_ROLE_",
            "NONE RETURN_THUNK STATIC_RETURN0 STATIC_RETURN PARAVIRT_NOP PARAVIRT_BUG RETURN_POINTER CALL_COUNT CALL_THUNKS JUMP_THUNKS "
                + "WARN_TRAP"
        );
        header.Names<ObjectKind>("KSP_OBJECT_", "TEXT DATA");
        header.Names<MatchReason>(
            "KSP_",
            "MATCHED BAD_DATA NO_MEMORY NO_CANDIDATE DIFFERENT AMBIGUOUS UNREADABLE PROBED CONFLICT UNRESOLVED NO_ROOM "
                + "NOT_IN_SEQUENCE SEALED"
        );
        header.Layout<MatchHeader>(
            "ksp_header",
            "magic version size symbols n_symbols objects n_objects ops n_ops places n_places bytes n_bytes names n_names "
                + "n_exports n_functions"
        );
        header.Layout<MatchSymbol>("ksp_symbol", "name kind role flags export object content content_size");
        header.Layout<MatchObject>("ksp_object", "symbol name unit size op n_ops function place kind flags reserved");
        header.Layout<MatchPlace>("ksp_place", "name flags");
        header.Layout<MatchOp>("ksp_op", "op kind length symbol value");
        await header.CompareAsync();
    }
}
