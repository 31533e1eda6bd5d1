// SPDX-License-Identifier: MIT
// A module as it would stand in memory beside a kernel image. Where a module lies differs from machine to machine, so it is
// put where it can reach the kernel and the kernel it, and what its relocations say is filled in, as the kernel's loader does
// (kernel/module/main.c; arch/x86/kernel/module.c). What the kernel would rewrite then, alternatives, branches on static
// keys and calls of __fentry__, stays as it is in the file: matching knows those sites.
using System.Buffers.Binary;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Kernel;

/// <summary>A loadable module, loaded beside a kernel image without a kernel that runs.</summary>
public sealed class LoadedModule
{
    // Documentation/x86/x86_64/mm.rst: "module mapping space".
    private const ulong ModuleSpace = 0xffffffffc0000000;

    private readonly ModuleFile _file;
    private readonly KernelImage _image;
    private readonly ModuleLayout _layout;
    private readonly IReadOnlyList<LoadedModule> _needed;
    private readonly Dictionary<string, ulong> _exports = new(StringComparer.Ordinal);
    private readonly ILookup<string, ulong> _symbols;
    private readonly ulong[] _starts;
    private readonly byte[] _memory;

    private LoadedModule(ModuleFile file, ModuleLayout layout, IReadOnlyList<LoadedModule> needed, KernelImage image)
    {
        (_file, _layout, _needed, _image) = (file, layout, needed, image);
        foreach (var (name, address) in layout.Exports())
            _exports.TryAdd(name, address);
        _symbols = layout.CoreSymbols().Distinct().ToLookup(symbol => symbol.Name, symbol => symbol.Address, StringComparer.Ordinal);
        _starts =
        [
            .. _symbols
                .SelectMany(addresses => addresses)
                .Where(address => address >= layout.Start && address < layout.InitStart)
                .Distinct()
                .Order(),
        ];
        _memory = new byte[layout.InitStart - layout.Start];
        foreach (var section in file.Elf.Sections.Where(layout.Stays))
            section.Data.Span.CopyTo(At(section));
        foreach (var section in file.Elf.Sections.Where(layout.Stays))
            Relocate(section);
        // Where the key of a static call is not exported the file names the trampoline, and the loader looks the key up
        // (kernel/static_call_inline.c, static_call_add_module).
        Tables = KernelTables.Read(
            Table("__jump_table"),
            Table(".static_call_sites"),
            Table("__bug_table"),
            image.Tables.BugSize,
            Table("__ex_table"),
            Table(".ibt_endbr_seal"),
            key => image.FindTrampolineKey(key) ?? key
        );
    }

    /// <summary>The file it was read from.</summary>
    public string Path => _file.Path;

    /// <summary>The module's own tables of its code.</summary>
    public KernelTables Tables { get; }

    /// <summary>Loads a module, with those of <paramref name="modules"/> that it needs behind it; null after an error.</summary>
    public static LoadedModule? Load(ModuleFile file, ShippedModules modules, KernelImage image, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(modules);
        ArgumentNullException.ThrowIfNull(image);
        ArgumentNullException.ThrowIfNull(diagnostics);
        return new Loader(modules, image, diagnostics).Load(file);
    }

    /// <summary>Loads one after the other, each behind those that it needs.</summary>
    private sealed class Loader(ShippedModules modules, KernelImage image, DiagnosticBag diagnostics)
    {
        private readonly Dictionary<string, LoadedModule> _loaded = new(StringComparer.Ordinal);
        private readonly HashSet<string> _begun = new(StringComparer.Ordinal);
        private ulong _next = ModuleSpace;
        private ulong? _nextPerCpu = image.Symbols.FindUnique("__per_cpu_end");

        public LoadedModule? Load(ModuleFile file)
        {
            _begun.Add(file.Name);
            List<LoadedModule> needed = [];
            foreach (string name in file.Depends)
            {
                if (!_loaded.TryGetValue(name, out var other) && (other = Open(file, name)) is null)
                    return null;
                needed.Add(other);
            }
            try
            {
                ModuleLayout layout = new(
                    file,
                    _next,
                    _nextPerCpu ?? throw new InvalidDataException("the kernel's image has no symbol __per_cpu_end")
                );
                LoadedModule module = new(file, layout, needed, image);
                (_next, _nextPerCpu) = (layout.End, layout.PerCpuEnd);
                _loaded.Add(file.Name, module);
                return module;
            }
            catch (Exception problem) when (problem is InvalidDataException or ElfFormatException)
            {
                return Refuse(file, problem.Message);
            }
        }

        private LoadedModule? Open(ModuleFile user, string name)
        {
            if (_begun.Contains(name))
                return Refuse(user, $"it needs {name}, which needs it");
            return modules.Open(name, diagnostics) is { } file ? Load(file) : null;
        }

        private LoadedModule? Refuse(ModuleFile file, string why)
        {
            diagnostics.Report(KernelDiagnostics.BadModule, new SourceLocation(file.Path), file.Path, why);
            return null;
        }
    }

    /// <summary>The addresses of all its symbols of that name, without those that are freed with its init memory.</summary>
    public IEnumerable<ulong> Find(string name) => _symbols[name];

    /// <summary>The symbol of it at or before <paramref name="address"/> with the distance to it, or null.</summary>
    internal string? NameOf(ulong address) =>
        !TryFindExtent(address, out ulong start, out _) || _symbols.FirstOrDefault(symbol => symbol.Contains(start)) is not { } symbol
            ? null
        : address == start ? symbol.Key
        : $"{symbol.Key}+0x{address - start:x}";

    /// <summary>Where the last of its symbols at or before <paramref name="address"/> starts, and where the next one does.</summary>
    public bool TryFindExtent(ulong address, out ulong start, out ulong end)
    {
        (start, end) = (0, 0);
        if (address < _layout.Start || address >= _layout.InitStart)
            return false;
        int index = Array.BinarySearch(_starts, address);
        int next = index < 0 ? ~index : index + 1;
        if (next == 0)
            return false;
        (start, end) = (_starts[next - 1], next < _starts.Length ? _starts[next] : _layout.InitStart);
        return true;
    }

    /// <summary>The address of what it exports under that name, or null.</summary>
    public ulong? FindExport(string name) => _exports.TryGetValue(name, out ulong address) ? address : null;

    /// <summary>The address of what another module, that this one needs, exports under that name.</summary>
    public ulong? FindImport(string name)
    {
        foreach (var other in _needed)
        {
            if (other._exports.TryGetValue(name, out ulong address))
                return address;
        }
        return null;
    }

    /// <summary>True if the bytes lie in what stays of the module's code.</summary>
    public bool IsText(ulong start, ulong end) => Holds(start, end, section => section.IsExecutable);

    /// <summary>True if the module's memory at <paramref name="address"/> is read-only once the module has started.</summary>
    public bool IsReadOnlyAfterInit(ulong address) => Holds(address, address + 1, section => section.Name == ".data..ro_after_init");

    /// <summary>
    /// False if <paramref name="address"/> is its code, or that of a module that it needs, without ENDBR or with
    /// one that the loader overwrites (K22).
    /// </summary>
    public bool HasEndbr(ulong address)
    {
        if (!_image.HasIbt || !IsText(address, address + 1))
            return _needed.All(other => other.HasEndbr(address));
        Span<byte> code = stackalloc byte[KernelImage.EndbrSize];
        return TryRead(address, code) && KernelImage.IsEndbr(code) && !Tables.Seals.Contains(address);
    }

    /// <summary>
    /// Copies exactly the length of <paramref name="destination"/> from its memory or that of a module that it needs, or returns false.
    /// </summary>
    public bool TryRead(ulong address, Span<byte> destination)
    {
        ulong offset = address - _layout.Start;
        if (offset >= (ulong)_memory.Length || (ulong)destination.Length > (ulong)_memory.Length - offset)
        {
            foreach (var other in _needed)
            {
                if (other.TryRead(address, destination))
                    return true;
            }
            return false;
        }
        _memory.AsSpan((int)offset, destination.Length).CopyTo(destination);
        return true;
    }

    private bool Holds(ulong start, ulong end, Predicate<ElfSection> which) =>
        end > start
        && _file.Elf.Sections.Any(section =>
            which(section)
            && _layout.Stays(section)
            && _layout.PlaceOf(section) is { } place
            && start >= place
            && end - place <= section.Size
        );

    private int Offset(ElfSection section) => (int)(_layout.PlaceOf(section)!.Value - _layout.Start);

    private Span<byte> At(ElfSection section) => _memory.AsSpan(Offset(section), (int)section.Size);

    private void Relocate(ElfSection section)
    {
        var bytes = At(section);
        ulong place = _layout.PlaceOf(section)!.Value;
        foreach (var relocation in section.Relocations)
        {
            ulong value = Resolve(_file.Elf.Symbols[relocation.SymbolIndex]) + (ulong)relocation.Addend;
            bool relative = relocation.Type is ElfRelocationType.Pc32 or ElfRelocationType.Plt32 or ElfRelocationType.Pc64;
            if (relative)
                value -= place + relocation.Offset;
            int size = relocation.Type is ElfRelocationType.Abs64 or ElfRelocationType.Pc64 ? 8 : 4;
            bool fits = relocation.Type switch
            {
                ElfRelocationType.None or ElfRelocationType.Abs64 or ElfRelocationType.Pc64 => true,
                ElfRelocationType.Abs32 => value == (uint)value,
                ElfRelocationType.Abs32Signed or ElfRelocationType.Pc32 or ElfRelocationType.Plt32 => (long)value == (int)value,
                _ => throw new InvalidDataException($"relocation type {(uint)relocation.Type} in section {section.Name} is unknown"),
            };
            if (!fits || relocation.Offset > section.Size || (ulong)size > section.Size - relocation.Offset)
                throw new InvalidDataException(
                    $"the relocation at offset {relocation.Offset} of section {section.Name} leads out of reach"
                );
            if (relocation.Type == ElfRelocationType.None)
                continue;
            if (size == 8)
                BinaryPrimitives.WriteUInt64LittleEndian(bytes[(int)relocation.Offset..], value);
            else
                BinaryPrimitives.WriteUInt32LittleEndian(bytes[(int)relocation.Offset..], (uint)value);
        }
    }

    // simplify_symbols: the module's own, what the kernel exports, what other modules export.
    private ulong Resolve(ElfSymbol symbol)
    {
        if (!symbol.IsUndefined)
            return _layout.AddressOf(symbol)
                ?? throw new InvalidDataException($"symbol '{symbol.Name}' is in a section that is not loaded");
        if (symbol.Name.Length == 0)
            return 0;
        return _image.FindExport(symbol.Name)
            ?? FindImport(symbol.Name)
            ?? (
                symbol.Binding == ElfSymbolBinding.Weak
                    ? 0ul
                    : throw new InvalidDataException(
                        $"symbol '{symbol.Name}' is exported neither by the kernel nor by a module that it names "
                            + $"({string.Join(", ", _file.Depends)})"
                    )
            );
    }

    private RelativeTable Table(string name) =>
        _file.Elf.FindSection(name) is { } section && _layout.Stays(section)
            ? new(_layout.PlaceOf(section)!.Value, _memory.AsMemory(Offset(section), (int)section.Size))
            : default;
}
