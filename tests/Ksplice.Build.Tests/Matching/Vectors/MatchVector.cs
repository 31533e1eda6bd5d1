// SPDX-License-Identifier: MIT
// A vector: match data, the memory that it is matched against and the result. tests/vectors holds them as text, which vectors.c reads too.
//
// A line is a word and what belongs to it; numbers are hexadecimal, and a line that begins with # is for people.
//   vector NAME                    begins one
//   about TYPE.VALUE …             what of the format it is about
//   memory ADDRESS FILL BYTES      32 bytes of memory: those, and then bytes like FILL
//   symbol ADDRESS NAME            a symbol of the kernel's table
//   jump CODE TARGET KEY           entries of tables: jump labels,
//   call CODE KEY                  static calls,
//   bug CODE FILE LINE FLAGS       traps,
//   exception CODE FIXUP DATA      and faults
//   tracer ADDRESS                 where a call at a fentry site leads to the function tracer
//   site ADDRESS                   a fentry site that the tracer has in use, wherever its call leads
//   probe ADDRESS                  a kprobe
//   endbr START END                code that an indirect call reaches only through an ENDBR,
//   seal ADDRESS                   and an ENDBR in it that boot overwrites
//   data BYTES                     the match data, or its next part
//   result TEXT                    what matching says, as interpreter.c prints it; the first number is enum ksp_reason
//   end                            ends one
using System.Globalization;
using System.Text;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;

namespace Ksplice.Build.Tests.Matching;

/// <summary>One vector.</summary>
/// <param name="Name">Its name: what it is about, and what is so in it.</param>
/// <param name="About">Members of the format's enumerations, <c>OpCode.Literal</c>.</param>
/// <param name="Memory">What is matched against.</param>
/// <param name="Data">The match data.</param>
/// <param name="Result">What matching says, as <see cref="DumpedKernel.Show"/> does.</param>
internal sealed record MatchVector(string Name, IReadOnlyList<string> About, VectorMemory Memory, byte[] Data, string Result)
{
    private const int DataRow = 32;

    /// <summary>The kind of the result.</summary>
    public MatchReason Reason => (MatchReason)int.Parse(Result.Split(' ')[0], CultureInfo.InvariantCulture);

    /// <summary>What the interpreter of the build says.</summary>
    public string Match() => DumpedKernel.Show(MatchInterpreter.Match(Data, Memory));

    /// <summary>Reads a file of vectors.</summary>
    public static IEnumerable<MatchVector> Read(string path)
    {
        string? name = null,
            result = null;
        string[] about = [];
        VectorMemory memory = new();
        List<byte> data = [];
        foreach (string line in File.ReadLines(path))
        {
            string[] words = line.Split(' ', 2);
            string rest = words.Length > 1 ? words[1] : "";
            switch (words[0])
            {
                case "" or "#":
                    break;
                case "vector":
                    (name, result, about, memory, data) = (rest, null, [], new(), []);
                    break;
                case "about":
                    about = rest.Split(' ');
                    break;
                case "data":
                    data.AddRange(Convert.FromHexString(rest));
                    break;
                case "result":
                    result = rest;
                    break;
                case "end":
                    yield return new MatchVector(
                        name ?? throw new InvalidDataException($"{path}: a vector has no name"),
                        about,
                        memory,
                        [.. data],
                        result ?? throw new InvalidDataException($"{path}: {name} has no result")
                    );
                    break;
                default:
                    memory.Add(words[0], rest);
                    break;
            }
        }
    }

    /// <summary>Appends it as it stands in a file.</summary>
    public void Write(StringBuilder text)
    {
        text.Append("vector ").Append(Name).Append('\n');
        if (CheckedMatchData.CheckData(Data) is { } program)
        {
            foreach (var entry in program.Objects)
                text.Append("# ").Append(program.Name(entry.Name)).Append(": ").AppendJoin(", ", Steps(program, entry)).Append('\n');
        }
        text.Append("about ").AppendJoin(' ', About).Append('\n');
        Memory.Write(text);
        foreach (byte[] part in Data.Chunk(DataRow))
            text.Append("data ").Append(Convert.ToHexStringLower(part)).Append('\n');
        text.Append("# ").Append(Reason).Append("\nresult ").Append(Result).Append("\nend\n\n");
    }

    private static List<string> Steps(CheckedMatchData program, MatchObject entry)
    {
        List<string> steps = [];
        foreach (var op in program.OpsOf(entry))
        {
            string name = op.Op switch
            {
                OpCode.Variant or OpCode.Alternative or OpCode.Paravirt => $"{op.Op} of {op.Value}",
                OpCode.Literal => $"{op.Op} {Convert.ToHexStringLower(program.Bytes.Slice((int)op.Value, op.Length))}",
                OpCode.Field => $"{op.Op} {(FieldKind)op.Kind}",
                OpCode.Branch or OpCode.Retpoline or OpCode.StaticCall => $"{op.Op} {(BranchKind)op.Kind}",
                OpCode.Bug => $"{op.Op} {(BugKind)op.Kind}",
                _ => $"{op.Op}",
            };
            steps.Add(
                op.Symbol < program.Header.SymbolCount && program.Name(program.Symbol(op.Symbol).Name) is { Length: > 0 } symbol
                    ? $"{name} {symbol}"
                    : name
            );
        }
        return steps;
    }
}
