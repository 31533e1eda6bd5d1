// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Ksplice.Build.Matching;

// ksplice/format.h once more: the same names, the same values, the same layouts. What each means is said there.
// A test compiles the header and compares.

internal static class MatchFormat
{
    public const ulong Magic = 0x4843544d50534b;
    public const uint Version = 6;
    public const uint None = 0xffffffff;
    public const int MaximalNops = 256;
    public const int JumpSize = 5;
    public const int Shown = 16;
}

internal enum SymbolKind : byte
{
    Plain,
    Content,
}

internal enum SymbolRole : byte
{
    None,
    ReturnThunk,
    StaticReturn0,
    StaticReturn,
    ParavirtNop,
    ParavirtBug,
    ReturnPointer,
    CallCount,
    CallThunks,
    JumpThunks,
    WarnTrap,
}

[Flags]
internal enum SymbolFlags : ushort
{
    None = 0,
    Named = 1,
    ByName = 2,
    Global = 4,
    Called = 8,
}

internal enum ObjectKind : byte
{
    Text,
    Data,
}

[Flags]
internal enum ObjectFlags : byte
{
    None = 0,
    Replaced = 1,
    Optional = 2,
    EndsInCall = 4,
}

[Flags]
internal enum PlaceFlags : uint
{
    None = 0,
    First = 1,
    Same = 2,
    Weak = 4,
}

internal enum OpCode : byte
{
    Literal = 1,
    Field,
    Branch,
    Nops,
    Label,
    Fentry,
    Alternative,
    Variant,
    Paravirt,
    Lock,
    JumpLabel,
    StaticCall,
    Key,
    Retpoline,
    Return,
    Endbr,
    Bug,
    Exception,
}

internal enum BugKind : byte
{
    None,
    Short,
    Long,
    Format,
}

internal enum FieldKind : byte
{
    Abs64,
    Abs32,
    Abs32S,
    Pc32,
    Pc64,
    Abs8,
    Bug,
}

/// <summary>0 to 15 are conditional jumps by condition code.</summary>
internal enum BranchKind : byte
{
    Jmp = 16,
    Call,
    Loopne,
    Loope,
    Loop,
    Jrcxz,
    CsJmp,
    CsCall,
}

[StructLayout(LayoutKind.Sequential, Pack = 8)]
internal struct MatchHeader
{
    public ulong Magic;
    public uint Version;
    public uint Size;
    public uint Symbols;
    public uint SymbolCount;
    public uint Objects;
    public uint ObjectCount;
    public uint Ops;
    public uint OpCount;
    public uint Places;
    public uint PlaceCount;
    public uint Bytes;
    public uint ByteCount;
    public uint Names;
    public uint NameBytes;
    public uint ExportCount;
    public uint FunctionCount;
}

[StructLayout(LayoutKind.Sequential)]
internal struct MatchSymbol
{
    public uint Name;
    public SymbolKind Kind;
    public SymbolRole Role;
    public SymbolFlags Flags;
    public uint Export;
    public uint Object;
    public uint Content;
    public uint ContentSize;
}

[StructLayout(LayoutKind.Sequential)]
internal struct MatchObject
{
    public uint Symbol;
    public uint Name;
    public uint Unit;
    public uint Size;
    public uint Op;
    public uint OpCount;
    public uint Function;
    public uint Place;
    public ObjectKind Kind;
    public ObjectFlags Flags;
    public ushort Reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal struct MatchOp
{
    public OpCode Op;
    public byte Kind;
    public ushort Length;
    public uint Symbol;
    public long Value;
}

[StructLayout(LayoutKind.Sequential)]
internal struct MatchPlace
{
    public uint Name;
    public PlaceFlags Flags;
}
